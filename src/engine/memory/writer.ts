import {
  type Condition,
  type DeleteOutcome,
  type DeleteRequest,
  type IncrementOutcome,
  type IncrementRequest,
  JSON_CONTENT_TYPE,
  type Key,
  NEVER,
  type PutOutcome,
  type PutRequest,
  type Stamp,
  type TouchOutcome,
  type TouchRequest,
  type Version,
} from "../engine.ts";
import type { Arena } from "./arena.ts";
import type { GhostTable } from "./ghost-table.ts";
import type { HalfSipHash } from "./half-sip-hash.ts";
import type { IndexTable } from "./index-table.ts";
import {
  CONTENT_TYPE_INLINE,
  CONTENT_TYPE_SHIFT,
  COUNT_DELETES,
  COUNT_EXPIRATIONS,
  COUNT_SETS,
  FLAG_BLOB,
  FLAG_EXPIRES,
  FLAG_MAIN,
  FLAG_ORIGIN,
  FLAG_TOMBSTONE,
  FLAG_TOUCHED,
  RECORD_EXPIRY_HI,
  RECORD_EXPIRY_LO,
  RECORD_META,
  RECORD_VALUE_BYTES,
  RECORD_VERSION_HI,
  RECORD_VERSION_LO,
  SHARD_INDEX_PAGES,
  SHARD_LOCK,
  SHARD_NEWEST_HI,
  SHARD_NEWEST_LO,
} from "./layout.ts";
import { lockMutex, unlockMutex } from "./mutex.ts";
import {
  blobWord,
  contentTypeNumber,
  contentTypeOf,
  expiryOf,
  keyOffset,
  originOf,
  originWord,
  RecordPlan,
  versionOf,
  writeSafeInteger,
} from "./record.ts";
import type { RecordLog } from "./record-log.ts";
import type { RoomMaker } from "./room-maker.ts";
import type { SegmentPool } from "./segment-pool.ts";
import type { ShardStore } from "./shard-store.ts";

/** An entry may take this share of the memory at most. */
const MAX_RECORD_SHARE = 0.5;
/** Longest text of a safe integer, with its sign. */
const MAX_INTEGER_TEXT = 17;
const NO_VALUE = Buffer.alloc(0);

/** A mutation that can't be done before there is more room: the segments it needs. Not an outcome that callers see. */
type NeedsRoom = number;

/** What a record is to hold. */
interface NewRecord {
  readonly key: Key;
  readonly source: Buffer;
  readonly start: number;
  readonly end: number;
  readonly contentType: string;
  readonly expiresAtMs: number;
  readonly stamp: Stamp;
}

/**
 * Does mutations, one shard at a time, under its lock. When memory is short, the lock is given back, room is made
 * (perhaps in another shard), and the mutation is tried anew, so that a thread never holds two shards.
 */
export class Writer {
  private readonly control: Int32Array;
  private readonly plan: RecordPlan;
  private readonly shardMask: number;
  private readonly maxRecordUnits: number;

  constructor(
    private readonly arena: Arena,
    private readonly pool: SegmentPool,
    private readonly index: IndexTable,
    private readonly log: RecordLog,
    private readonly store: ShardStore,
    private readonly ghosts: GhostTable,
    private readonly room: RoomMaker,
    private readonly hasher: HalfSipHash,
    private readonly counters: Float64Array,
    private readonly clock: () => number,
  ) {
    const { shardCount, segmentCount, spareSegments, segmentBytes } = arena.geometry;
    this.control = arena.control;
    this.plan = new RecordPlan(log.blobSegmentBytes);
    this.shardMask = shardCount - 1;
    this.maxRecordUnits = ((segmentCount - spareSegments) * segmentBytes * MAX_RECORD_SHARE) / 8;
  }

  put(request: PutRequest): PutOutcome {
    if (!this.planRecord(request, request.expiresAtMs !== NEVER)) return "too-large";
    const nowMs = this.clock();
    for (;;) {
      const shard = this.lock(request.key);
      let outcome: PutOutcome | NeedsRoom;
      try {
        outcome = this.tryPut(shard, request, nowMs);
      } finally {
        unlockMutex(this.control, shard + SHARD_LOCK);
      }
      if (typeof outcome === "string") return outcome;
      if (!this.room.make(shard, outcome, nowMs)) return "too-large";
    }
  }

  delete(request: DeleteRequest): DeleteOutcome {
    const nowMs = this.clock();
    for (;;) {
      const shard = this.lock(request.key);
      let outcome: DeleteOutcome | NeedsRoom;
      try {
        outcome = this.tryDelete(shard, request, nowMs);
      } finally {
        unlockMutex(this.control, shard + SHARD_LOCK);
      }
      if (typeof outcome === "string") return outcome;
      if (!this.room.make(shard, outcome, nowMs)) return this.refuseFromNowOn(shard, request, nowMs);
    }
  }

  touch(request: TouchRequest): TouchOutcome {
    const nowMs = this.clock();
    for (;;) {
      const shard = this.lock(request.key);
      let outcome: TouchOutcome | NeedsRoom;
      try {
        outcome = this.tryTouch(shard, request, nowMs);
      } finally {
        unlockMutex(this.control, shard + SHARD_LOCK);
      }
      if (typeof outcome === "string") return outcome;
      if (!this.room.make(shard, outcome, nowMs)) return "absent";
    }
  }

  increment(request: IncrementRequest): IncrementOutcome {
    const nowMs = this.clock();
    for (;;) {
      const shard = this.lock(request.key);
      let outcome: IncrementOutcome | NeedsRoom;
      try {
        outcome = this.tryIncrement(shard, request, nowMs);
      } finally {
        unlockMutex(this.control, shard + SHARD_LOCK);
      }
      if (typeof outcome !== "number") return outcome;
      if (!this.room.make(shard, outcome, nowMs)) return { kind: "too-large" };
    }
  }

  /** Of the newest mutation that is known of a key, a delete's too; null = none is. */
  stampOf(key: Key): Stamp | null {
    const shard = this.lock(key);
    try {
      if (this.find(shard, key) < 0) return null;
      const words = this.arena.wordsAt(this.store.foundLocation);
      const word = this.arena.wordIndex(this.store.foundLocation);
      return { version: versionOf(words, word) as Version, origin: originOf(words, word) };
    } finally {
      unlockMutex(this.control, shard + SHARD_LOCK);
    }
  }

  private lock(key: Key): number {
    this.hasher.digest(key.bytes, 0, key.length);
    const shard = this.arena.shard(this.hasher.lo & this.shardMask);
    lockMutex(this.control, shard + SHARD_LOCK);
    return shard;
  }

  private tryPut(shard: number, request: PutRequest, nowMs: number): PutOutcome | NeedsRoom {
    const slot = this.find(shard, request.key);
    if (this.isSuperseded(shard, slot, request.stamp)) return "superseded";
    if (!this.holds(request.condition, slot, nowMs)) return "condition-failed";
    const needed = this.write(shard, slot, request, 0, nowMs);
    if (needed > 0) return needed;
    this.counters[COUNT_SETS]!++;
    return "stored";
  }

  private tryDelete(shard: number, request: DeleteRequest, nowMs: number): DeleteOutcome | NeedsRoom {
    const slot = this.find(shard, request.key);
    if (this.isSuperseded(shard, slot, request.stamp)) return "superseded";
    if (!this.holds(request.condition, slot, nowMs)) return "condition-failed";
    const live = this.isLive(slot, nowMs);
    if (request.tombstoneUntilMs !== NEVER) {
      const tombstone: NewRecord = {
        key: request.key,
        source: NO_VALUE,
        start: 0,
        end: 0,
        contentType: JSON_CONTENT_TYPE,
        expiresAtMs: request.tombstoneUntilMs,
        stamp: request.stamp,
      };
      this.planRecord(tombstone, true);
      const needed = this.write(shard, slot, tombstone, FLAG_TOMBSTONE, nowMs);
      if (needed > 0) return needed;
    } else if (slot >= 0) {
      this.countIfExpired(nowMs);
      this.store.remove(shard, slot, this.store.foundLocation);
    }
    if (request.tombstoneUntilMs === NEVER) {
      this.arena.forgotten.add(this.arena.shardNumber(shard), this.hasher.hi >>> 2, request.stamp.version);
    }
    if (!live) return "absent";
    this.counters[COUNT_DELETES]!++;
    return "deleted";
  }

  private tryTouch(shard: number, request: TouchRequest, nowMs: number): TouchOutcome | NeedsRoom {
    const slot = this.find(shard, request.key);
    if (this.isSuperseded(shard, slot, request.stamp)) return slot < 0 ? "absent" : "superseded";
    if (!this.holds(request.condition, slot, nowMs)) return "condition-failed";
    if (!this.isLive(slot, nowMs)) return "absent";
    const location = this.store.foundLocation;
    if (this.canTouchInPlace(location, request)) {
      this.touchInPlace(shard, location, request);
      return "touched";
    }
    const value = this.readValue(location);
    const record: NewRecord = {
      ...request,
      source: value,
      start: 0,
      end: value.length,
      contentType: this.contentTypeAt(location),
    };
    this.planRecord(record, request.expiresAtMs !== NEVER);
    const needed = this.write(shard, slot, record, FLAG_TOUCHED, nowMs);
    return needed > 0 ? needed : "touched";
  }

  private tryIncrement(shard: number, request: IncrementRequest, nowMs: number): IncrementOutcome | NeedsRoom {
    const slot = this.find(shard, request.key);
    if (this.isSuperseded(shard, slot, request.stamp)) return { kind: "superseded" };
    if (!this.holds(request.condition, slot, nowMs)) return { kind: "condition-failed" };
    const live = this.isLive(slot, nowMs);
    const current = live ? this.readInteger(this.store.foundLocation) : 0;
    if (current === null) return { kind: "not-an-integer" };
    const value = current + request.delta;
    if (!Number.isSafeInteger(value)) return { kind: "out-of-range" };
    const text = Buffer.from(String(value), "latin1");
    const record: NewRecord = {
      key: request.key,
      source: text,
      start: 0,
      end: text.length,
      contentType: JSON_CONTENT_TYPE,
      expiresAtMs: live ? this.expiryAt(this.store.foundLocation) : request.expiresAtMsIfNew,
      stamp: request.stamp,
    };
    if (!this.planRecord(record, record.expiresAtMs !== NEVER)) return { kind: "too-large" };
    const needed = this.write(shard, slot, record, live ? FLAG_TOUCHED : 0, nowMs);
    if (needed > 0) return needed;
    this.counters[COUNT_SETS]!++;
    return { kind: "incremented", value };
  }

  /** A tombstone has no room: the whole shard refuses what is older than the delete, which is as safe. */
  private refuseFromNowOn(shard: number, request: DeleteRequest, nowMs: number): DeleteOutcome {
    this.lock(request.key);
    try {
      // The lock was given back: another thread may have written since.
      const slot = this.find(shard, request.key);
      if (this.isSuperseded(shard, slot, request.stamp)) return "superseded";
      if (!this.holds(request.condition, slot, nowMs)) return "condition-failed";
      const live = this.isLive(slot, nowMs);
      this.store.raiseFloor(shard, request.stamp.version, request.stamp.origin);
      if (slot >= 0) {
        this.countIfExpired(nowMs);
        this.store.remove(shard, slot, this.store.foundLocation);
      }
      if (!live) return "absent";
      this.counters[COUNT_DELETES]!++;
      return "deleted";
    } finally {
      unlockMutex(this.control, shard + SHARD_LOCK);
    }
  }

  private find(shard: number, key: Key): number {
    return this.store.findKey(shard, this.hasher.hi >>> 2, key.bytes, key.length);
  }

  /** The version rule: what is stored, or was cleared, is as new as the stamp or newer. */
  private isSuperseded(shard: number, slot: number, stamp: Stamp): boolean {
    if (this.store.isUnderFloor(shard, stamp.version, stamp.origin)) return true;
    if (slot < 0) {
      const { forgotten } = this.arena;
      return stamp.version <= forgotten.newest(this.arena.shardNumber(shard), this.hasher.hi >>> 2);
    }
    const words = this.arena.wordsAt(this.store.foundLocation);
    const word = this.arena.wordIndex(this.store.foundLocation);
    const version = versionOf(words, word);
    return version > stamp.version || (version === stamp.version && originOf(words, word) >= stamp.origin);
  }

  /** Whether the record that was just found is there for a client. */
  private isLive(slot: number, nowMs: number): boolean {
    if (slot < 0) return false;
    const location = this.store.foundLocation;
    return !this.store.isTombstone(location) && !this.store.isExpired(location, nowMs);
  }

  private holds(condition: Condition | null, slot: number, nowMs: number): boolean {
    if (condition === null) return true;
    const live = this.isLive(slot, nowMs);
    switch (condition.kind) {
      case "absent":
        return !live;
      case "present":
        return live;
      case "tag-in":
        return live && condition.tags.includes(this.store.version(this.store.foundLocation));
      case "tag-not-in":
        return !live || !condition.tags.includes(this.store.version(this.store.foundLocation));
    }
  }

  /** Lays out a record. False = it could never be stored. */
  private planRecord(record: NewRecord, expires: boolean): boolean {
    const inline = contentTypeNumber(record.contentType) === CONTENT_TYPE_INLINE ? record.contentType.length : 0;
    this.plan.plan(record.key.length, inline, record.end - record.start, expires, record.stamp.origin !== 0);
    return this.log.fits(this.plan) && this.plan.totalUnits() <= this.maxRecordUnits;
  }

  /** Writes the planned record and lets the index refer to it. Gives 0, or the segments that are missing. */
  private write(shard: number, slot: number, record: NewRecord, flags: number, nowMs: number): NeedsRoom {
    const { plan, store } = this;
    const oldLocation = store.foundLocation;
    const main = slot >= 0 ? this.isMain(oldLocation) : this.ghosts.has(shard, this.hasher.hi);
    const pages = slot >= 0 ? 0 : this.index.pagesWanted(shard);
    if (pages > 0 && this.control[shard + SHARD_INDEX_PAGES]! + pages > this.arena.geometry.maxIndexPages) return 1;
    const needed = this.log.segmentsNeeded(shard, main, plan) + pages;
    if (needed > 0 && !this.pool.reserve(needed, this.arena.geometry.spareSegments)) return needed;
    if (pages > 0) this.pool.unreserve(pages - this.index.grow(shard, pages));
    const blob = plan.blobSegments > 0 ? this.log.appendBlob(shard, plan.blobSegments) : -1;
    const location = this.log.append(shard, main, plan);
    this.writeRecord(location, record, flags | (main ? FLAG_MAIN : 0), blob);
    if (slot < 0) {
      if (main) this.ghosts.forget(shard, this.hasher.hi);
      store.insert(shard, this.hasher.hi >>> 2, location);
    } else {
      this.countIfExpired(nowMs);
      store.replace(shard, slot, oldLocation, location);
    }
    this.rememberNewest(shard, record.stamp.version);
    return 0;
  }

  private writeRecord(location: number, record: NewRecord, flags: number, blob: number): void {
    const { plan, arena } = this;
    const words = arena.wordsAt(location);
    const word = arena.wordIndex(location);
    const bytes = arena.bytesAt(location);
    const contentType = contentTypeNumber(record.contentType);
    let meta = record.key.length | (contentType << CONTENT_TYPE_SHIFT) | flags;
    if (record.expiresAtMs !== NEVER) meta |= FLAG_EXPIRES;
    if (record.stamp.origin !== 0) meta |= FLAG_ORIGIN;
    if (blob >= 0) meta |= FLAG_BLOB;
    words[word + RECORD_META] = meta;
    words[word + RECORD_VALUE_BYTES] = record.end - record.start;
    writeSafeInteger(words, word + RECORD_VERSION_LO, word + RECORD_VERSION_HI, record.stamp.version);
    if ((meta & FLAG_EXPIRES) !== 0) {
      writeSafeInteger(words, word + RECORD_EXPIRY_LO, word + RECORD_EXPIRY_HI, record.expiresAtMs);
    }
    if ((meta & FLAG_ORIGIN) !== 0) words[word + originWord(meta)] = record.stamp.origin;
    if (blob >= 0) words[word + blobWord(meta)] = blob;
    const keyAt = (word << 2) + keyOffset(meta);
    record.key.bytes.copy(bytes, keyAt, 0, record.key.length);
    if (contentType === CONTENT_TYPE_INLINE) {
      bytes[keyAt + record.key.length] = record.contentType.length;
      bytes.write(record.contentType, keyAt + record.key.length + 1, "latin1");
    }
    this.log.writeValue(location, plan, blob, record.source, record.start, record.end);
  }

  private canTouchInPlace(location: number, request: TouchRequest): boolean {
    const meta = this.arena.wordsAt(location)[this.arena.wordIndex(location) + RECORD_META]!;
    const hasRoom = (meta & FLAG_EXPIRES) !== 0 || request.expiresAtMs === NEVER;
    return hasRoom && ((meta & FLAG_ORIGIN) !== 0) === (request.stamp.origin !== 0);
  }

  private touchInPlace(shard: number, location: number, request: TouchRequest): void {
    const words = this.arena.wordsAt(location);
    const word = this.arena.wordIndex(location);
    const meta = words[word + RECORD_META]!;
    this.store.unfileExpiry(shard, location);
    this.index.beginChange(shard);
    words[word + RECORD_META] = meta | FLAG_TOUCHED;
    writeSafeInteger(words, word + RECORD_VERSION_LO, word + RECORD_VERSION_HI, request.stamp.version);
    if ((meta & FLAG_EXPIRES) !== 0) {
      writeSafeInteger(words, word + RECORD_EXPIRY_LO, word + RECORD_EXPIRY_HI, request.expiresAtMs);
    }
    if ((meta & FLAG_ORIGIN) !== 0) words[word + originWord(meta)] = request.stamp.origin;
    this.index.endChange(shard);
    this.store.fileExpiry(shard, location);
    this.rememberNewest(shard, request.stamp.version);
  }

  private rememberNewest(shard: number, version: number): void {
    const newest = this.control[shard + SHARD_NEWEST_HI]! * 2 ** 32 + (this.control[shard + SHARD_NEWEST_LO]! >>> 0);
    if (version > newest) writeSafeInteger(this.control, shard + SHARD_NEWEST_LO, shard + SHARD_NEWEST_HI, version);
  }

  private countIfExpired(nowMs: number): void {
    const location = this.store.foundLocation;
    if (!this.store.isTombstone(location) && this.store.isExpired(location, nowMs)) this.counters[COUNT_EXPIRATIONS]!++;
  }

  private isMain(location: number): boolean {
    return (this.arena.wordsAt(location)[this.arena.wordIndex(location) + RECORD_META]! & FLAG_MAIN) !== 0;
  }

  private expiryAt(location: number): number {
    return expiryOf(this.arena.wordsAt(location), this.arena.wordIndex(location));
  }

  private contentTypeAt(location: number): string {
    const word = this.arena.wordIndex(location);
    return contentTypeOf(this.arena.wordsAt(location)[word + RECORD_META]!, this.arena.bytesAt(location), word << 2);
  }

  private readValue(location: number): Buffer {
    const bytes = this.arena.wordsAt(location)[this.arena.wordIndex(location) + RECORD_VALUE_BYTES]!;
    const value = Buffer.allocUnsafe(bytes);
    this.log.readValue(location, value);
    return value;
  }

  /** The value as a safe integer, or null. */
  private readInteger(location: number): number | null {
    const valueBytes = this.arena.wordsAt(location)[this.arena.wordIndex(location) + RECORD_VALUE_BYTES]!;
    if (valueBytes > MAX_INTEGER_TEXT || this.contentTypeAt(location) !== JSON_CONTENT_TYPE) return null;
    const text = this.readValue(location).toString("latin1");
    if (!/^-?(?:0|[1-9][0-9]*)$/.test(text)) return null;
    const value = Number(text);
    return Number.isSafeInteger(value) ? value : null;
  }
}
