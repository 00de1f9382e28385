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

/** Tries without the lock while the index is being changed … */
const MAX_TRIES = 256;
/** … and tries whose copy was for nothing, because a segment of the shard was given back meanwhile. */
const MAX_LOST_COPIES = 4;

/** What came of one read without the lock. */
export type Attempt = typeof MISSED | typeof FOUND | typeof CHANGING | typeof LOST_COPY;
export const MISSED = 0;
export const FOUND = 1;
/** The index was being changed. */
const CHANGING = 2;
/** A segment of the shard was given back during the copy. */
const LOST_COPY = 3;

/**
 * Reads entries without a lock.
 *
 * Two counters of the shard say whether what was read is true. The index sequence is odd, or moves on, while slots or
 * headers change: all that leads to the record is read between two equal even values of it. Values never change once
 * written, so copying one needs less: that no segment of the shard was given back since the record was found, which the
 * recycle sequence tells. Who writes all the time can therefore not starve who reads a large value; in the end the lock
 * is taken.
 *
 * Why this is right: all that a writer changes, it changes between two `bump`s of the sequence, and it gives a segment
 * back after a `bump` of the recycle sequence. If a load of the reader sees such a change, the bump before it was visible
 * already, so a load of the sequence that comes later sees that, too. What "later" means is up to the fences: without
 * them, neither JavaScript's memory model nor ARM64 keeps plain loads above a later load of the sequence, be it atomic.
 * Boehm's remedy is to validate by a read-modify-write of the sequence itself, and JavaScript's model knows no other.
 * It makes each reader own the sequence's cache line for a moment, as `Atomics.load` does here (on x86-64 it is compiled
 * to a locked exchange), so threads that read one hot key wait for each other. A read-modify-write of a word of its own
 * is the same barrier to the compiler and the processor (see `fence.ts`), and leaves that line shared.
 *
 * Source: H.-J. Boehm, "Can Seqlocks Get Along With Programming Language Memory Models?" (MSPC '12), sections 4 and 5.
 */
export class Reader {
  private readonly control: Int32Array;
  /** Of the record that was found last. */
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

  /** Hands a live entry to the sink and counts a hit, or counts a miss and gives false. */
  get(key: Key, sink: EntrySink): boolean {
    return this.read(key, sink, this.clock()) ? this.hit() : this.miss();
  }

  /** Hands a live entry to the sink and counts nothing. */
  peek(key: Key, sink: EntrySink): boolean {
    return this.read(key, sink, this.clock());
  }

  /** As `peek`, of an entry that was live at `nowMs`; 0 = whether or not it has expired. */
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

  /** Tries to read without the lock, once. `locate` has been called for the key. */
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

  /** Finds out which shard has a key. */
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
    // Only a slot that is still the same gets the count; a lost count is no loss.
    if ((slotHash & USE_COUNT_MASK) !== USE_COUNT_MASK) {
      Atomics.compareExchange(slotWords, slotWord, slotHash, slotHash + 1);
    }
    return true;
  }

  private miss(): boolean {
    this.counters[COUNT_MISSES]!++;
    return false;
  }

  /** Fills `info` from the live record of a key. What it finds is only true if the index sequence didn't move. */
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

  /** Copies the value of the record in `info`. False = a segment was given back meanwhile, so it may be another's. */
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

  /** Whether what was read up to now is still the record's. */
  private isUnrecycled(recycled: number): boolean {
    fence(this.own);
    return this.control[this.shard + SHARD_RECYCLE_SEQUENCE] === recycled;
  }
}
