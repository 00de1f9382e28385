import type { EntryInfo, EntrySink } from "../../../../src/engine/engine.ts";
import { Arena, type MemoryViews } from "../../../../src/engine/memory/arena.ts";
import { ExpiryWheel } from "../../../../src/engine/memory/expiry-wheel.ts";
import { HalfSipHash } from "../../../../src/engine/memory/half-sip-hash.ts";
import { IndexTable } from "../../../../src/engine/memory/index-table.ts";
import {
  HASH_KEY_0,
  HASH_KEY_1,
  POOL_LOCK,
  SHARD_INDEX_SEQUENCE,
  SHARD_LOCK,
  SHARD_RECYCLE_SEQUENCE,
} from "../../../../src/engine/memory/layout.ts";
import { PartReader } from "../../../../src/engine/memory/part-reader.ts";
import { FOUND, MISSED, Reader } from "../../../../src/engine/memory/reader.ts";
import { RecordLog } from "../../../../src/engine/memory/record-log.ts";
import { SegmentPool } from "../../../../src/engine/memory/segment-pool.ts";
import { ShardStore } from "../../../../src/engine/memory/shard-store.ts";
import { NEVER } from "../../../../src/model/entry.ts";
import type { Key } from "../../../../src/model/key.ts";
import type { Stamp } from "../../../../src/model/stamp.ts";
import { stampOf } from "../../../support/engine-io.ts";
import type { Store } from "../../../support/traced-memory.ts";
import type { Content, History } from "./history.ts";

/** A read came to no end without the lock. Tags are positive. */
export const UNDECIDED = -1;
export const ABSENT = 0;

/** So many, or fewer, make up a value. */
const PARTS = 3;

/** A thread that only reads, without the lock, and finds out whether what it got is one of the history's contents. */
export class Observer {
  private readonly reader: Reader;
  private readonly arena: Arena;
  private readonly hasher: HalfSipHash;
  private readonly store: ShardStore;
  private readonly sink = new ValueSink();
  private readonly parts: PartReader;

  constructor(
    private readonly history: History,
    views?: MemoryViews,
  ) {
    const arena = new Arena(history.handle, { views });
    const plain = new Arena(history.handle);
    const pool = new SegmentPool(arena);
    const index = new IndexTable(arena, pool);
    const words = new Int32Array(history.handle.control);
    const hasher = () => new HalfSipHash(words[HASH_KEY_0] ?? 0, words[HASH_KEY_1] ?? 0);
    const wheel = new ExpiryWheel(arena, 0);
    const store = new ShardStore(arena, index, new RecordLog(arena, pool), wheel, hasher());
    this.arena = plain;
    this.store = store;
    this.hasher = hasher();
    this.reader = new Reader(arena, index, store, hasher(), plain.counters(3), history.clock.read);
    const attempt = (nowMs: number) => (key: Key, sink: EntrySink) => {
      this.reader.locate(key);
      return this.reader.attempt(key, sink, nowMs) === FOUND;
    };
    this.parts = new PartReader({ read: attempt(0) }, arena, this.reader.info);
  }

  /**
   * Reads a value in parts, each a read of its own, as it was found first. Gives its revision, `ABSENT`, or `UNDECIDED` where it
   * was lost in between. Throws on parts that don't make up a value of the key.
   */
  readInParts(number: number, nowMs: number): number {
    const revision = this.read(number, nowMs, "no value");
    const content = this.history.contents.get(revision);
    if (content === undefined || content.bytes === null) return revision;
    const { stamp } = this.sink;
    const { length } = content.bytes;
    const target = Buffer.alloc(length);
    const step = 1 + Math.ceil(length / PARTS);
    for (let offset = 0; offset < length; offset += step) {
      const part = { offset, length: Math.min(step, length - offset), target, start: offset };
      if (!this.parts.copyPart(this.history.key(number), stamp, part)) return UNDECIDED;
    }
    if (content.bytes.equals(target)) return revision;
    throw new Error(`key ${number} gave parts of what it never had: ${target.toString("hex", 0, 8)} of ${revision}`);
  }

  /**
   * The revision of what a key has, `ABSENT` or `UNDECIDED`. Throws on a value that isn't the key's, or isn't whole. Without
   * the value, its length and what else is known of it must be right.
   */
  read(number: number, nowMs: number, wants: "value" | "no value" = "value"): number {
    const key = this.history.key(number);
    this.sink.revision = ABSENT;
    this.sink.wants = wants;
    this.reader.locate(key);
    const attempt = this.reader.attempt(key, this.sink, nowMs);
    if (attempt === MISSED) return ABSENT;
    if (attempt !== FOUND) return UNDECIDED;
    const content = this.history.contents.get(this.sink.revision);
    if (content === undefined || content.key !== number || !this.sink.holds(content, this.history)) {
      throw new Error(`key ${number} gave what it never had: ${this.sink.describe()}`);
    }
    if (this.sink.isExpired(nowMs)) throw new Error(`key ${number} has expired`);
    return this.sink.revision;
  }

  /** Whether somebody is changing the index that has a key, and holds its lock. */
  isChanging(number: number): boolean {
    const shard = this.shardOf(number);
    const { control } = this.arena;
    return ((control[shard + SHARD_INDEX_SEQUENCE] ?? 0) & 1) !== 0 && control[shard + SHARD_LOCK] !== 0;
  }

  /** Whether nobody has the lock of the shard that has a key, nor that of the pool, but somebody has another shard's. */
  isBesideALock(number: number): boolean {
    const { control } = this.arena;
    if (control[this.shardOf(number) + SHARD_LOCK] !== 0 || control[POOL_LOCK] !== 0) return false;
    return control.some((word, at) => word !== 0 && this.isLock(at));
  }

  /** Whether a word of the control buffer is the lock of a shard. */
  isLock(word: number): boolean {
    for (let number = 0; number < this.history.shape.shards; number++) {
      if (word === this.arena.shard(number) + SHARD_LOCK) return true;
    }
    return false;
  }

  /** Whether a store moves the sequence that says that a segment was given back. */
  isRecycling({ buffer, at }: Store): boolean {
    const sequence = (at >>> 2) - SHARD_RECYCLE_SEQUENCE + SHARD_LOCK;
    return buffer === 0 && this.isLock(sequence);
  }

  /** Where a key's record is, or -1. To be called while nobody changes anything. */
  place(number: number): number {
    const { bytes, length } = this.history.key(number);
    const shard = this.shardOf(number);
    return this.store.findKey(shard, this.hasher.hi >>> 2, bytes, length) < 0 ? -1 : this.store.foundLocation;
  }

  private shardOf(number: number): number {
    const { bytes, length } = this.history.key(number);
    this.hasher.digest(bytes, 0, length);
    return this.arena.shard(this.hasher.lo & (this.history.shape.shards - 1));
  }
}

class ValueSink implements EntrySink {
  readonly target = Buffer.alloc(4096);
  readonly offset = 0;
  revision = 0;
  stamp: Stamp = stampOf(0);
  wants: "value" | "no value" = "value";
  private length = 0;
  private contentType = "";
  private expiresAtMs = 0;

  isExpired(nowMs: number): boolean {
    return this.expiresAtMs !== NEVER && this.expiresAtMs <= nowMs;
  }

  begin(entry: EntryInfo): boolean {
    this.revision = entry.revision;
    this.stamp = stampOf(entry.revision, entry.stamp.nodeId);
    this.length = entry.valueLength;
    this.contentType = entry.attributes.contentType;
    this.expiresAtMs = entry.expiresAtMs;
    if (this.length < 0 || this.length > this.target.length) throw new Error(`a value of ${this.length} bytes`);
    return this.wants === "value";
  }

  holds(content: Content, history: History): boolean {
    const found = this.target.subarray(0, this.length);
    if (content.bytes === null) return history.explains(content, found);
    if (this.contentType !== content.contentType || !content.expiries.includes(this.expiresAtMs)) return false;
    return this.wants === "no value" ? this.length === content.bytes.length : content.bytes.equals(found);
  }

  describe(): string {
    const start = this.target.toString("hex", 0, Math.min(this.length, 8));
    return `revision ${this.revision}, ${this.contentType}, ${this.length} bytes from ${start}, expires at ${this.expiresAtMs}`;
  }
}
