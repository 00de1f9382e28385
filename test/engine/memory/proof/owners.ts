import { Arena, type MemoryHandle } from "../../../../src/engine/memory/arena.ts";
import {
  AGE_CLOCK,
  GHOST_CLOCK,
  GLOBAL_WORDS,
  POOL_INDEX_COUNT,
  POOL_LOCK,
  RECORDS_COUNTED,
  SHARD_INDEX_PAGES,
  SHARD_INDEX_SEQUENCE,
  SHARD_LOCK,
  SHARD_RECYCLE_SEQUENCE,
  SHARD_WORDS,
} from "../../../../src/engine/memory/layout.ts";
import type { Store } from "../../../support/traced-memory.ts";

/** Says of each store whether its thread had the lock that it needs, while no other thread runs. */
export class Owners {
  private readonly arena: Arena;

  constructor(handle: MemoryHandle) {
    this.arena = new Arena(handle);
  }

  check(store: Store): void {
    const fault = this.fault(store);
    if (fault !== null) throw new Error(fault);
  }

  private fault(store: Store): string | null {
    const { buffer, at, isAtomic } = store;
    const word = at >>> 2;
    if (buffer > 0) {
      return this.anyShardIsLocked() || isUse(store) ? null : "a segment is written without any shard's lock";
    }
    if (word === POOL_LOCK) return null;
    if (word <= POOL_INDEX_COUNT) return this.isHeld(POOL_LOCK) ? null : "the pool changes without its lock";
    // Ages and counts of all shards, by which victims are chosen: what they say need not be exact.
    if (word === RECORDS_COUNTED) return null;
    if (word === AGE_CLOCK || word === GHOST_CLOCK) return isAtomic ? null : "a clock is moved by a plain store";
    if (word < GLOBAL_WORDS) return `a store to word ${word}, which never changes`;
    const shards = this.arena.geometry.shardCount * SHARD_WORDS;
    if (word >= GLOBAL_WORDS + shards) {
      return this.anyShardIsLocked() ? null : "a table of segments or pages changes without any shard's lock";
    }
    const field = (word - GLOBAL_WORDS) % SHARD_WORDS;
    if (field === SHARD_LOCK) return null;
    if (!this.isHeld(word - field + SHARD_LOCK)) return "a shard's header changes without its lock";
    // Readers find slots by it: they must see that it changes.
    if (field === SHARD_INDEX_PAGES && ((this.arena.control[word - field + SHARD_INDEX_SEQUENCE] ?? 0) & 1) === 0) {
      return "an index gets another size while its sequence is even";
    }
    const isSequence = field === SHARD_INDEX_SEQUENCE || field === SHARD_RECYCLE_SEQUENCE;
    return isAtomic || !isSequence ? null : "a sequence is moved by a plain store";
  }

  private anyShardIsLocked(): boolean {
    const { shardCount } = this.arena.geometry;
    return Array.from({ length: shardCount }, (_, number) => this.arena.shard(number) + SHARD_LOCK).some((at) =>
      this.isHeld(at),
    );
  }

  private isHeld(lock: number): boolean {
    return this.arena.control[lock] !== 0;
  }
}

/** A reader counts a use in a slot of the index. */
function isUse({ before, after, isAtomic }: Store): boolean {
  const [from = 0, ...rest] = before;
  const [to = 0, ...restAfter] = after;
  return isAtomic && to === from + 1 && to >>> 2 === from >>> 2 && rest.join() === restAfter.join();
}
