import type { Arena } from "./arena.ts";
import {
  POOL_FREE_COUNT,
  POOL_FREE_HEAD,
  POOL_FRESH,
  POOL_INDEX_COUNT,
  POOL_INDEX_HEAD,
  POOL_LOCK,
  POOL_RESERVED,
} from "./layout.ts";

/**
 * The free segments. A shard reserves the segments that it may need before it changes anything, so that no change can
 * fail half way; then it takes them one by one.
 *
 * Segments that were index pages are reused only as index pages: a reader increments a use count in a slot by
 * compare-and-swap after it has checked the slot. If the page had become a record in between, the swap could hit a byte
 * of that record. In another index page it can hit only the use count of an equal hash.
 */
export class SegmentPool {
  private readonly control: Int32Array;

  constructor(private readonly arena: Arena) {
    this.control = arena.control;
  }

  /** Reserves `count` segments. False = there are not so many (`spare` of them are left to eviction). */
  reserve(count: number, spare: number): boolean {
    const control = this.control;
    this.arena.locks.lock(POOL_LOCK);
    const granted = this.freeCount() - control[POOL_RESERVED]! >= count + spare;
    if (granted) control[POOL_RESERVED]! += count;
    this.arena.locks.unlock(POOL_LOCK);
    return granted;
  }

  /** Returns reserved segments that were not taken. */
  unreserve(count: number): void {
    if (count === 0) return;
    this.arena.locks.lock(POOL_LOCK);
    this.control[POOL_RESERVED]! -= count;
    this.arena.locks.unlock(POOL_LOCK);
  }

  /** Takes a reserved segment. Its bytes are undefined. */
  take(): number {
    const control = this.control;
    this.arena.locks.lock(POOL_LOCK);
    control[POOL_RESERVED]!--;
    let segment: number;
    const head = control[POOL_FREE_HEAD]!;
    if (head !== 0) {
      segment = head - 1;
      control[POOL_FREE_HEAD] = control[this.arena.next + segment]!;
      control[POOL_FREE_COUNT]!--;
    } else {
      segment = control[POOL_FRESH]!++;
    }
    this.arena.locks.unlock(POOL_LOCK);
    return segment;
  }

  /** Returns a list of segments, linked through `next`. */
  give(firstSegment: number, lastSegment: number, count: number): void {
    const control = this.control;
    this.arena.locks.lock(POOL_LOCK);
    control[this.arena.next + lastSegment] = control[POOL_FREE_HEAD]!;
    control[POOL_FREE_HEAD] = firstSegment + 1;
    control[POOL_FREE_COUNT]! += count;
    this.arena.locks.unlock(POOL_LOCK);
  }

  /** Takes a segment that was an index page, or -1. */
  takeIndexPage(): number {
    const control = this.control;
    this.arena.locks.lock(POOL_LOCK);
    const head = control[POOL_INDEX_HEAD]!;
    if (head !== 0) {
      control[POOL_INDEX_HEAD] = control[this.arena.next + head - 1]!;
      control[POOL_INDEX_COUNT]!--;
    }
    this.arena.locks.unlock(POOL_LOCK);
    return head - 1;
  }

  /** Returns a list of index pages, linked through `next`. */
  giveIndexPages(firstSegment: number, lastSegment: number, count: number): void {
    const control = this.control;
    this.arena.locks.lock(POOL_LOCK);
    control[this.arena.next + lastSegment] = control[POOL_INDEX_HEAD]!;
    control[POOL_INDEX_HEAD] = firstSegment + 1;
    control[POOL_INDEX_COUNT]! += count;
    this.arena.locks.unlock(POOL_LOCK);
  }

  /** Segments that are neither taken nor reserved. */
  available(): number {
    this.arena.locks.lock(POOL_LOCK);
    const count = this.freeCount() - this.control[POOL_RESERVED]!;
    this.arena.locks.unlock(POOL_LOCK);
    return count;
  }

  private freeCount(): number {
    return this.control[POOL_FREE_COUNT]! + this.arena.geometry.segmentCount - this.control[POOL_FRESH]!;
  }
}
