import { type Attributes, NEVER } from "../../model/entry.ts";
import type { Key } from "../../model/key.ts";
import { FILL_NODE_ID, type Stamp } from "../../model/stamp.ts";
import type { Arena } from "./arena.ts";
import type { GhostTable } from "./ghost-table.ts";
import type { HalfSipHash } from "./half-sip-hash.ts";
import type { IndexTable } from "./index-table.ts";
import {
  CONTENT_TYPE_INLINE,
  CONTENT_TYPE_SHIFT,
  COUNT_EXPIRATIONS,
  FLAG_BLOB,
  FLAG_COUNTED,
  FLAG_EXPIRES,
  FLAG_MAIN,
  FLAG_NODE_ID,
  FLAG_TOMBSTONE,
  type Queue,
  RECORD_EXPIRY_HI,
  RECORD_EXPIRY_LO,
  RECORD_META,
  RECORD_VALUE_BYTES,
  RECORD_VERSION_HI,
  RECORD_VERSION_LO,
  SHARD_DELETED,
  SHARD_INDEX_PAGES,
  SHARD_MAIN,
  SHARD_NEWEST_HI,
  SHARD_NEWEST_LO,
  SHARD_SMALL,
  UNIT_BYTES,
} from "./layout.ts";
import { blobWord, contentTypeNumber, keyOffset, nodeIdWord, RecordPlan, writeSafeInteger } from "./record.ts";
import type { RecordLog } from "./record-log.ts";
import type { SegmentPool } from "./segment-pool.ts";
import type { ShardStore } from "./shard-store.ts";

/** The largest share of the memory that one entry may take. */
const MAX_RECORD_SHARE = 0.5;

/** The segments that a mutation needs before it can be executed. Callers of the engine never see this outcome. */
export type NeedsRoom = number;
/** … or the index of the shard has its maximum of pages, so records of the shard must be evicted. */
export const INDEX_FULL = -1;

/** The contents of a record to be written. */
export interface NewRecord {
  readonly key: Key;
  readonly source: Buffer;
  readonly start: number;
  readonly end: number;
  readonly attributes: Attributes;
  readonly expiresAtMs: number;
  readonly stamp: Stamp;
}

/**
 * Writes the record of one key: lays it out, finds room for it, and makes the index refer to it. `store.foundLocation`
 * is the location of the key's present record; the hasher holds the key's digest. Every call but `planRecord` needs the
 * shard's lock.
 */
export class RecordWriter {
  private readonly control: Int32Array;
  /** The layout of the record that `planRecord` was called for. */
  readonly plan: RecordPlan;
  private readonly maxRecordUnits: number;

  constructor(
    private readonly arena: Arena,
    private readonly pool: SegmentPool,
    private readonly index: IndexTable,
    private readonly log: RecordLog,
    private readonly store: ShardStore,
    private readonly ghosts: GhostTable,
    private readonly hasher: HalfSipHash,
    private readonly counters: Float64Array,
  ) {
    const { segmentCount, spareSegments, segmentBytes } = arena.geometry;
    this.control = arena.control;
    this.plan = new RecordPlan(log.blobSegmentBytes);
    this.maxRecordUnits = ((segmentCount - spareSegments) * segmentBytes * MAX_RECORD_SHARE) / 8;
  }

  /** Whether a value of so many bytes can be stored at all, apart from its key. */
  couldStore(valueBytes: number): boolean {
    return valueBytes / UNIT_BYTES <= this.maxRecordUnits;
  }

  /** Lays out a record. False = it can never be stored. */
  planRecord(record: NewRecord, expires: boolean): boolean {
    return this.fits(record.key.length, record, expires, record.stamp.nodeId !== 0);
  }

  fits(
    keyLength: number,
    { start, end, attributes }: Pick<NewRecord, "start" | "end" | "attributes">,
    expires: boolean,
    hasNodeId: boolean,
  ): boolean {
    const { contentType } = attributes;
    const inline = contentTypeNumber(contentType) === CONTENT_TYPE_INLINE ? contentType.length : 0;
    this.plan.plan(keyLength, inline, end - start, expires, hasNodeId);
    return this.log.fits(this.plan) && this.plan.totalUnits() <= this.maxRecordUnits;
  }

  /**
   * Writes the planned record and makes the index refer to it. Returns 0, or the room that is missing. A record may
   * take over the blob of the one that it replaces: its source is then only the part of the value behind the blob.
   */
  write(shard: number, slot: number, record: NewRecord, flags: number, nowMs: number, takenBlob = -1): NeedsRoom {
    const { plan, store } = this;
    const oldLocation = store.foundLocation;
    const queue = this.queueFor(shard, slot, flags);
    const pages = slot >= 0 ? 0 : this.index.pagesWanted(shard);
    if (pages > 0 && this.control[shard + SHARD_INDEX_PAGES]! + pages > this.arena.geometry.maxIndexPages)
      return INDEX_FULL;
    const blobSegments = takenBlob < 0 ? plan.blobSegments : 0;
    const needed = this.log.segmentsNeeded(shard, queue, plan) - plan.blobSegments + blobSegments + pages;
    if (needed > 0 && !this.pool.reserve(needed, this.arena.geometry.spareSegments)) return needed;
    if (pages > 0) this.pool.unreserve(pages - this.index.grow(shard, pages));
    const blob = blobSegments > 0 ? this.log.appendBlob(shard, blobSegments) : takenBlob;
    const location = this.log.append(shard, queue, plan);
    this.writeHeader(location, record, flags | (queue === SHARD_MAIN ? FLAG_MAIN : 0), blob);
    if (takenBlob < 0) this.log.writeValue(location, plan, blob, record.source, record.start, record.end);
    else {
      this.log.writeInline(location, plan, record.source, 0, plan.inlineBytes);
      this.log.renew(location);
    }
    if (slot < 0) {
      if (queue === SHARD_MAIN) this.ghosts.forget(shard, this.hasher.hi);
      store.insert(shard, this.hasher.hi >>> 2, location);
    } else {
      this.countIfExpired(nowMs);
      // A copy replaces a mutation: values older than that mutation must not replace the copy.
      if (record.stamp.nodeId === FILL_NODE_ID) store.rememberMutation(shard, slot, oldLocation);
      store.replace(shard, slot, oldLocation, location, takenBlob < 0);
    }
    this.rememberNewest(shard, record.stamp.version);
    return 0;
  }

  private queueFor(shard: number, slot: number, flags: number): Queue {
    if ((flags & FLAG_TOMBSTONE) !== 0) return SHARD_DELETED;
    const main = slot >= 0 ? this.isMain(this.store.foundLocation) : this.ghosts.has(shard, this.hasher.hi);
    return main ? SHARD_MAIN : SHARD_SMALL;
  }

  private writeHeader(location: number, record: NewRecord, flags: number, blob: number): void {
    const { arena } = this;
    const words = arena.wordsAt(location);
    const word = arena.wordIndex(location);
    const bytes = arena.bytesAt(location);
    const { contentType } = record.attributes;
    const typeNumber = contentTypeNumber(contentType);
    let meta = record.key.length | (typeNumber << CONTENT_TYPE_SHIFT) | flags;
    if (record.expiresAtMs !== NEVER) meta |= FLAG_EXPIRES;
    if (record.stamp.nodeId !== 0) meta |= FLAG_NODE_ID;
    if (blob >= 0) meta |= FLAG_BLOB;
    words[word + RECORD_META] = meta;
    words[word + RECORD_VALUE_BYTES] = record.end - record.start;
    writeSafeInteger(words, word + RECORD_VERSION_LO, word + RECORD_VERSION_HI, record.stamp.version);
    if ((meta & FLAG_EXPIRES) !== 0) {
      writeSafeInteger(words, word + RECORD_EXPIRY_LO, word + RECORD_EXPIRY_HI, record.expiresAtMs);
    }
    if ((meta & FLAG_NODE_ID) !== 0) words[word + nodeIdWord(meta)] = record.stamp.nodeId;
    if (blob >= 0) words[word + blobWord(meta)] = blob;
    const keyAt = (word << 2) + keyOffset(meta);
    record.key.bytes.copy(bytes, keyAt, 0, record.key.length);
    if (typeNumber === CONTENT_TYPE_INLINE) {
      bytes[keyAt + record.key.length] = contentType.length;
      bytes.write(contentType, keyAt + record.key.length + 1, "latin1");
    }
  }

  /** Whether a new expiry fits into the existing record. */
  canTouchInPlace(location: number, expiresAtMs: number): boolean {
    return expiresAtMs === NEVER || (this.metaAt(location) & FLAG_EXPIRES) !== 0;
  }

  touchInPlace(shard: number, location: number, expiresAtMs: number): void {
    if ((this.metaAt(location) & FLAG_EXPIRES) === 0) return;
    const words = this.arena.wordsAt(location);
    const word = this.arena.wordIndex(location);
    this.store.unfileExpiry(shard, location);
    this.index.beginChange(shard);
    writeSafeInteger(words, word + RECORD_EXPIRY_LO, word + RECORD_EXPIRY_HI, expiresAtMs);
    this.index.endChange(shard);
    this.store.fileExpiry(shard, location);
  }

  /** The flag for a record that replaces this one and differs only in its expiry. */
  countedFlag(location: number): number {
    return this.metaAt(location) & FLAG_COUNTED;
  }

  private rememberNewest(shard: number, version: number): void {
    const newest = this.control[shard + SHARD_NEWEST_HI]! * 2 ** 32 + (this.control[shard + SHARD_NEWEST_LO]! >>> 0);
    if (version > newest) writeSafeInteger(this.control, shard + SHARD_NEWEST_LO, shard + SHARD_NEWEST_HI, version);
  }

  /** To be called before the found record is removed. */
  countIfExpired(nowMs: number): void {
    const location = this.store.foundLocation;
    if (!this.store.isTombstone(location) && this.store.isExpired(location, nowMs)) this.counters[COUNT_EXPIRATIONS]!++;
  }

  private isMain(location: number): boolean {
    return (this.metaAt(location) & FLAG_MAIN) !== 0;
  }

  private metaAt(location: number): number {
    return this.arena.wordsAt(location)[this.arena.wordIndex(location) + RECORD_META]!;
  }
}
