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
 * The segments that no shard holds. A shard reserves what it may need before it changes anything, so that nothing can
 * fail half way; then it takes them one by one.
 *
 * Segments that were index pages come back as index pages only: readers bump a use count in a slot by compare-and-swap
 * after they have checked that the slot was valid, and if the page became a record in between, the swap could hit a
 * record's byte. In another index page it can hit nothing but the use count of an equal hash.
 */
export class SegmentPool {
  private readonly control: Int32Array;

  constructor(private readonly arena: Arena) {
    this.control = arena.control;
  }

  /** Promises `count` segments to the caller. False = there aren't so many (`spare` of them are for eviction only). */
  reserve(count: number, spare: number): boolean {
    const control = this.control;
    this.arena.locks.lock(POOL_LOCK);
    const granted = this.freeCount() - control[POOL_RESERVED]! >= count + spare;
    if (granted) control[POOL_RESERVED]! += count;
    this.arena.locks.unlock(POOL_LOCK);
    return granted;
  }

  /** Gives back what was reserved and not taken. */
  unreserve(count: number): void {
    if (count === 0) return;
    this.arena.locks.lock(POOL_LOCK);
    this.control[POOL_RESERVED]! -= count;
    this.arena.locks.unlock(POOL_LOCK);
  }

  /** Takes a segment that was reserved. Its bytes are whatever they were. */
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

  /** Gives back a list of segments that is linked through `next`. */
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

  /** Gives back a list of index pages that is linked through `next`. */
  giveIndexPages(firstSegment: number, lastSegment: number, count: number): void {
    const control = this.control;
    this.arena.locks.lock(POOL_LOCK);
    control[this.arena.next + lastSegment] = control[POOL_INDEX_HEAD]!;
    control[POOL_INDEX_HEAD] = firstSegment + 1;
    control[POOL_INDEX_COUNT]! += count;
    this.arena.locks.unlock(POOL_LOCK);
  }

  /** Segments that nobody holds or was promised. */
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
