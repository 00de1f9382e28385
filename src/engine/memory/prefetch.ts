import type { Key } from "../../model/key.ts";
import type { Arena } from "./arena.ts";
import type { HalfSipHash } from "./half-sip-hash.ts";
import type { IndexTable } from "./index-table.ts";
import { BUFFER_UNIT_MASK, BUFFER_UNIT_SHIFT, SLOT_LOCATION } from "./layout.ts";

/** Keys whose memory is prefetched together. */
const MOST_KEYS = 128;

/**
 * Touches the memory that gets of many keys will read, so that the processor fetches it for several keys in parallel:
 * these loops are short enough for out-of-order execution, a whole get is not. The loaded values are not used, so no
 * lock is needed, and they may be stale.
 */
export class Prefetch {
  private readonly shards = new Int32Array(MOST_KEYS);
  private readonly hashes = new Int32Array(MOST_KEYS);
  private readonly locations = new Int32Array(MOST_KEYS);
  private readonly shardMask: number;
  /** Keeps the compiler from removing the loads. */
  touched = 0;

  constructor(
    private readonly arena: Arena,
    private readonly index: IndexTable,
    private readonly hasher: HalfSipHash,
  ) {
    this.shardMask = arena.geometry.shardCount - 1;
  }

  keys(keys: readonly Key[], count: number): void {
    for (let from = 0; from < count; from += MOST_KEYS) this.some(keys, from, Math.min(MOST_KEYS, count - from));
  }

  private some(keys: readonly Key[], from: number, count: number): void {
    const { shards, hashes, locations, arena, index } = this;
    for (let at = 0; at < count; at++) {
      const key = keys[from + at]!;
      this.hasher.digest(key.bytes, 0, key.length);
      shards[at] = arena.shard(this.hasher.lo & this.shardMask);
      hashes[at] = this.hasher.hi >>> 2;
    }
    for (let at = 0; at < count; at++) {
      const shard = shards[at]!;
      const slotCount = index.slotCount(shard);
      if (slotCount === 0) continue;
      const slot = index.slotAt(arena.indexPageTable(shard), index.home(hashes[at]!, slotCount));
      locations[at] = arena.words[slot >>> BUFFER_UNIT_SHIFT]![((slot & BUFFER_UNIT_MASK) << 1) + SLOT_LOCATION]!;
    }
    let touched = 0;
    for (let at = 0; at < count; at++) {
      const location = locations[at]!;
      touched ^= arena.words[location >>> BUFFER_UNIT_SHIFT]![(location & BUFFER_UNIT_MASK) << 1]!;
    }
    this.touched = touched;
  }
}
