import type { Key } from "../../model/key.ts";
import type { EntrySink } from "../engine.ts";
import type { Arena } from "./arena.ts";
import { fence, fenceWord } from "./fence.ts";
import type { HalfSipHash } from "./half-sip-hash.ts";
import type { IndexTable } from "./index-table.ts";
import {
  BUFFER_UNIT_MASK,
  BUFFER_UNIT_SHIFT,
  COUNT_HITS,
  COUNT_MISSES,
  FLAG_BLOB,
  FLAG_TOMBSTONE,
  SEGMENT_RESERVED_BYTES,
  SHARD_INDEX_SEQUENCE,
  SHARD_LOCK,
  SHARD_RECYCLE_SEQUENCE,
  SLOT_LOCATION,
  USE_COUNT_MASK,
} from "./layout.ts";
import { PartReader } from "./part-reader.ts";
import { RecordInfo } from "./record-info.ts";
import type { ShardStore } from "./shard-store.ts";

/** Attempts without the lock while the index is being changed … */
const MAX_TRIES = 256;
/** … and attempts whose copy was wasted, because a segment of the shard was freed meanwhile. */
const MAX_LOST_COPIES = 4;

/** The outcome of one read without the lock. */
export type Attempt = typeof MISSED | typeof FOUND | typeof CHANGING | typeof LOST_COPY;
export const MISSED = 0;
export const FOUND = 1;
/** The index was being changed. */
const CHANGING = 2;
/** A segment of the shard was freed during the copy. */
const LOST_COPY = 3;

/**
 * Reads entries without a lock.
 *
 * Two counters of the shard tell whether a read is consistent. The index sequence is odd, or advances, while slots or
 * headers change: everything that leads to the record is read between two equal, even values of it. Values never change
 * once written, so copying one needs less: that no segment of the shard was freed since the record was found, which the
 * recycle sequence tells. A constant writer can therefore not starve a reader of a large value; as a last resort, the
 * reader takes the lock.
 *
 * Why this is correct: a writer makes all changes between two `bump`s of the index sequence, and frees a segment after
 * a `bump` of the recycle sequence. If a load of the reader sees such a change, the bump before it was already visible,
 * so a later load of the sequence sees it, too. "Later" is guaranteed by the fences: without them, neither JavaScript's
 * memory model nor ARM64 keeps plain loads above a later load of the sequence, even an atomic one. Boehm's remedy is to
 * validate by a read-modify-write of the sequence itself, and JavaScript's model offers no other. It makes each reader
 * own the cache line of the sequence for a moment, as `Atomics.load` does here (on x86-64 it is compiled to a locked
 * exchange), so threads that read one hot key wait for each other. A read-modify-write of a private word is the same
 * barrier to the compiler and the processor (see `fence.ts`), and leaves that line shared.
 *
 * Source: H.-J. Boehm, "Can Seqlocks Get Along With Programming Language Memory Models?" (MSPC '12), sections 4 and 5.
 */
export class Reader {
  private readonly control: Int32Array;
  /** The record that was found last. */
  readonly info = new RecordInfo();
  private readonly shardMask: number;
  private readonly own = fenceWord();
  private shard = 0;
  private hash = 0;

  constructor(
    private readonly arena: Arena,
    private readonly index: IndexTable,
    private readonly store: ShardStore,
    private readonly hasher: HalfSipHash,
    private readonly counters: Float64Array,
    private readonly clock: () => number,
  ) {
    this.control = arena.control;
    this.info.parts = new PartReader(this, arena, this.info);
    this.shardMask = arena.geometry.shardCount - 1;
  }

  /** Passes a live entry to the sink and counts a hit; otherwise counts a miss and returns false. */
  get(key: Key, sink: EntrySink): boolean {
    return this.read(key, sink, this.clock()) ? this.hit() : this.miss();
  }

  /** Passes a live entry to the sink without counting. */
  peek(key: Key, sink: EntrySink): boolean {
    return this.read(key, sink, this.clock());
  }

  /** Like `peek`, for an entry that was live at `nowMs`; 0 = even if it has expired. */
  read(key: Key, sink: EntrySink, nowMs: number): boolean {
    this.locate(key);
    let lostCopies = 0;
    for (let tries = 0; tries < MAX_TRIES && lostCopies < MAX_LOST_COPIES; tries++) {
      const attempt = this.attempt(key, sink, nowMs);
      if (attempt === FOUND) return true;
      if (attempt === MISSED) return false;
      if (attempt === LOST_COPY) lostCopies++;
    }
    return this.readLocked(key, sink, nowMs);
  }

  /** Attempts to read once without the lock. `locate` has been called for the key. */
  attempt(key: Key, sink: EntrySink, nowMs: number): Attempt {
    const { control, own, shard } = this;
    const sequence = control[shard + SHARD_INDEX_SEQUENCE]!;
    if ((sequence & 1) !== 0) return CHANGING;
    fence(own);
    const recycled = control[shard + SHARD_RECYCLE_SEQUENCE]!;
    const found = this.find(key, nowMs);
    fence(own);
    if (control[shard + SHARD_INDEX_SEQUENCE] !== sequence) return CHANGING;
    if (!found) return MISSED;
    return this.copyTo(sink, recycled) ? FOUND : LOST_COPY;
  }

  /** Finds the shard of a key. */
  locate(key: Key): void {
    this.hasher.digest(key.bytes, 0, key.length);
    this.shard = this.arena.shard(this.hasher.lo & this.shardMask);
    this.hash = this.hasher.hi >>> 2;
  }

  private readLocked(key: Key, sink: EntrySink, nowMs: number): boolean {
    const { control, shard } = this;
    this.arena.locks.lock(shard + SHARD_LOCK);
    try {
      return this.find(key, nowMs) && this.copyTo(sink, control[shard + SHARD_RECYCLE_SEQUENCE]!);
    } finally {
      this.arena.locks.unlock(shard + SHARD_LOCK);
    }
  }

  private hit(): boolean {
    this.counters[COUNT_HITS]!++;
    const { slotWords, slotWord, slotHash } = this.info;
    // The count is set only if the slot is unchanged; a lost count does not matter.
    if ((slotHash & USE_COUNT_MASK) !== USE_COUNT_MASK) {
      Atomics.compareExchange(slotWords, slotWord, slotHash, slotHash + 1);
    }
    return true;
  }

  private miss(): boolean {
    this.counters[COUNT_MISSES]!++;
    return false;
  }

  /** Fills `info` from the live record of a key. The result is valid only if the index sequence did not advance. */
  private find(key: Key, nowMs: number): boolean {
    const { arena, index, shard, hash } = this;
    const slotCount = index.slotCount(shard);
    const pageTable = arena.indexPageTable(shard);
    for (let slot = index.home(hash, slotCount); slot < slotCount; slot++) {
      const at = index.slotAt(pageTable, slot);
      const slotWords = arena.words[at >>> BUFFER_UNIT_SHIFT]!;
      const slotWord = (at & BUFFER_UNIT_MASK) << 1;
      const location = slotWords[slotWord + SLOT_LOCATION]!;
      if (location === 0) return false;
      const slotHash = slotWords[slotWord]!;
      if (slotHash >>> 2 > hash) return false;
      if (slotHash >>> 2 !== hash || !this.store.hasKey(location, key.bytes, key.length)) continue;
      this.info.read(arena, location, slotWords, slotWord, slotHash);
      if ((this.info.meta & FLAG_TOMBSTONE) !== 0) return false;
      return this.info.expiresAtMs === 0 || this.info.expiresAtMs > nowMs;
    }
    return false;
  }

  /**
   * Copies the value of the record in `info`. False = a segment was freed meanwhile, so the bytes may be another
   * value's.
   */
  private copyTo(sink: EntrySink, recycled: number): boolean {
    const { arena, control, info } = this;
    if (!sink.begin(info)) return this.isUnrecycled(recycled);
    const target = sink.target;
    let offset = sink.offset;
    let left = info.valueLength;
    if ((info.meta & FLAG_BLOB) !== 0) {
      const chunk = arena.segmentBytes - SEGMENT_RESERVED_BYTES;
      let segment = info.blobSegment;
      while (left >= chunk) {
        const at = arena.location(segment, SEGMENT_RESERVED_BYTES);
        const start = arena.wordIndex(at) << 2;
        arena.bytesAt(at).copy(target, offset, start, start + chunk);
        segment = control[arena.next + segment]! - 1;
        if (!this.isUnrecycled(recycled)) return false;
        offset += chunk;
        left -= chunk;
      }
    }
    const start = (arena.wordIndex(info.location) << 2) + info.valueOffset;
    const here = Math.min(left, arena.segmentBytes - arena.offsetOf(info.location) - info.valueOffset);
    arena.bytesAt(info.location).copy(target, offset, start, start + here);
    if (here < left) {
      const segment = control[arena.next + arena.segmentOf(info.location)]! - 1;
      if (!this.isUnrecycled(recycled)) return false;
      const at = arena.location(segment, SEGMENT_RESERVED_BYTES);
      const rest = arena.wordIndex(at) << 2;
      arena.bytesAt(at).copy(target, offset + here, rest, rest + left - here);
    }
    return this.isUnrecycled(recycled);
  }

  /** Whether the bytes read so far still belong to the record. */
  private isUnrecycled(recycled: number): boolean {
    fence(this.own);
    return this.control[this.shard + SHARD_RECYCLE_SEQUENCE] === recycled;
  }
}
