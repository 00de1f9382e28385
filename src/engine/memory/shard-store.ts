import type { Attributes } from "../../model/entry.ts";
import { FILL_NODE_ID } from "../../model/stamp.ts";
import type { Arena } from "./arena.ts";
import type { ExpiryWheel } from "./expiry-wheel.ts";
import type { HalfSipHash } from "./half-sip-hash.ts";
import type { IndexTable } from "./index-table.ts";
import {
  BUFFER_UNIT_MASK,
  BUFFER_UNIT_SHIFT,
  FLAG_EXPIRES,
  FLAG_TOMBSTONE,
  KEY_LENGTH_MASK,
  type Queue,
  RECORD_META,
  RECORD_VALUE_BYTES,
  SHARD_FLOOR_HI,
  SHARD_FLOOR_LO,
  SHARD_FLOOR_NODE_ID,
  SHARD_SLOTS_USED,
  SHARD_TOMBSTONES,
  SLOT_LOCATION,
  USE_COUNT_MASK,
} from "./layout.ts";
import { attributesOf, expiryOf, keyOffset, nodeIdOf, versionOf, writeSafeInteger } from "./record.ts";
import type { RecordLog } from "./record-log.ts";

/** Index, records and timers of one shard, which change together. Every call needs the shard's lock. */
export class ShardStore {
  private readonly control: Int32Array;
  foundLocation = 0;

  constructor(
    readonly arena: Arena,
    readonly index: IndexTable,
    readonly log: RecordLog,
    readonly wheel: ExpiryWheel,
    private readonly hasher: HalfSipHash,
  ) {
    this.control = arena.control;
  }

  /** Number of stored keys, including expired ones that are not pruned yet. */
  entries(shard: number): number {
    return this.control[shard + SHARD_SLOTS_USED]! - this.control[shard + SHARD_TOMBSTONES]!;
  }

  /** The index's hash of a record's key; leaves the digest in the hasher. */
  hashOf(location: number): number {
    const words = this.arena.wordsAt(location);
    const word = this.arena.wordIndex(location);
    const meta = words[word + RECORD_META]!;
    this.hasher.digest(this.arena.bytesAt(location), (word << 2) + keyOffset(meta), meta & KEY_LENGTH_MASK);
    return this.hasher.hi >>> 2;
  }

  /** The slot of a live record. */
  slotOf(shard: number, location: number): number {
    const slot = this.index.findLocation(shard, this.hashOf(location), location);
    if (slot < 0) throw new Error("a live record is not in the index");
    return slot;
  }

  /** The slot of a key, or -1; sets `foundLocation` to the location of its record. */
  findKey(shard: number, hash: number, key: Buffer, keyBytes: number): number {
    const { index, arena } = this;
    const slotCount = index.slotCount(shard);
    const pageTable = arena.indexPageTable(shard);
    for (let slot = index.home(hash, slotCount); slot < slotCount; slot++) {
      const at = index.slotAt(pageTable, slot);
      const words = arena.words[at >>> BUFFER_UNIT_SHIFT]!;
      const word = (at & BUFFER_UNIT_MASK) << 1;
      const location = words[word + SLOT_LOCATION]!;
      if (location === 0) return -1;
      const found = words[word]! >>> 2;
      if (found > hash) return -1;
      if (found === hash && this.hasKey(location, key, keyBytes)) {
        this.foundLocation = location;
        return slot;
      }
    }
    return -1;
  }

  /** Whether a record has this key. */
  hasKey(location: number, key: Buffer, keyBytes: number): boolean {
    const word = this.arena.wordIndex(location);
    const meta = this.arena.wordsAt(location)[word + RECORD_META]!;
    if ((meta & KEY_LENGTH_MASK) !== keyBytes) return false;
    const bytes = this.arena.bytesAt(location);
    const start = (word << 2) + keyOffset(meta);
    for (let at = 0; at < keyBytes; at++) {
      if (bytes[start + at] !== key[at]) return false;
    }
    return true;
  }

  useCount(shard: number, slot: number): number {
    const at = this.index.slotAt(this.arena.indexPageTable(shard), slot);
    return this.arena.words[at >>> BUFFER_UNIT_SHIFT]![(at & BUFFER_UNIT_MASK) << 1]! & USE_COUNT_MASK;
  }

  private slotHash(shard: number, slot: number): number {
    const at = this.index.slotAt(this.arena.indexPageTable(shard), slot);
    return this.arena.words[at >>> BUFFER_UNIT_SHIFT]![(at & BUFFER_UNIT_MASK) << 1]! >>> 2;
  }

  /** Adds a record that the caller has written to the index and the wheel. */
  insert(shard: number, hash: number, location: number): void {
    this.index.beginChange(shard);
    this.index.insert(shard, hash, location);
    this.index.endChange(shard);
    if (this.isTombstone(location)) this.control[shard + SHARD_TOMBSTONES]!++;
    this.fileExpiry(shard, location);
  }

  /**
   * Makes a slot refer to a new record, which the caller has written, and frees the old one, with or without its blob.
   */
  replace(shard: number, slot: number, oldLocation: number, location: number, withBlob: boolean): void {
    this.repoint(shard, slot, location);
    if (this.isTombstone(oldLocation)) this.control[shard + SHARD_TOMBSTONES]!--;
    if (this.isTombstone(location)) this.control[shard + SHARD_TOMBSTONES]!++;
    this.fileExpiry(shard, location);
    this.unfileExpiry(shard, oldLocation);
    if (withBlob) this.log.kill(shard, oldLocation);
    else this.log.drop(shard, oldLocation);
  }

  remove(shard: number, slot: number, location: number): void {
    this.index.beginChange(shard);
    this.index.remove(shard, slot);
    this.index.endChange(shard);
    if (this.isTombstone(location)) this.control[shard + SHARD_TOMBSTONES]!--;
    this.unfileExpiry(shard, location);
    this.log.kill(shard, location);
  }

  /** Removes a record without a newer mutation, and remembers its version: older values must not come back after it. */
  forget(shard: number, slot: number, location: number): void {
    const { forgotten } = this.arena;
    if (forgotten.isEnabled) {
      forgotten.add(this.arena.shardNumber(shard), this.slotHash(shard, slot), this.version(location));
    }
    this.remove(shard, slot, location);
  }

  /** The same for a tombstone before its end; without evicted versions, it raises the shard's floor instead. */
  forgetTombstone(shard: number, slot: number, location: number): void {
    if (!this.arena.forgotten.isEnabled) this.raiseFloor(shard, this.version(location), this.nodeId(location));
    this.forget(shard, slot, location);
  }

  /** Whether a record is a fill, a copy of a value of the database. A delete may have the same node id. */
  isFill(location: number): boolean {
    const nodeId = nodeIdOf(this.arena.wordsAt(location), this.arena.wordIndex(location));
    return nodeId === FILL_NODE_ID && !this.isTombstone(location);
  }

  /** Remembers the version of a record that is about to be replaced, unless it is also a fill. */
  rememberMutation(shard: number, slot: number, location: number): void {
    const { forgotten } = this.arena;
    if (!forgotten.isEnabled || this.isFill(location)) return;
    forgotten.add(this.arena.shardNumber(shard), this.slotHash(shard, slot), this.version(location));
  }

  /** Moves a live record to the head of a queue, with a new use count. The room must be reserved in the log. */
  move(shard: number, slot: number, location: number, queue: Queue, useCount: number): void {
    const target = this.log.copy(shard, location, queue);
    this.repoint(shard, slot, target);
    const at = this.index.slotAt(this.arena.indexPageTable(shard), slot);
    const words = this.arena.words[at >>> BUFFER_UNIT_SHIFT]!;
    const word = (at & BUFFER_UNIT_MASK) << 1;
    words[word] = (words[word]! & ~USE_COUNT_MASK) | useCount;
    if (this.isFiled(target)) this.wheel.moved(shard, target);
    // Last, because it may free the segment, and then no reader may find the record in the index.
    this.log.drop(shard, location);
  }

  /** From now on, mutations that are not newer than this stamp are refused. */
  raiseFloor(shard: number, version: number, nodeId: number): void {
    if (this.isUnderFloor(shard, version, nodeId)) return;
    writeSafeInteger(this.control, shard + SHARD_FLOOR_LO, shard + SHARD_FLOOR_HI, version);
    this.control[shard + SHARD_FLOOR_NODE_ID] = nodeId;
  }

  /** Whether the stamp is not newer than the floor. */
  isUnderFloor(shard: number, version: number, nodeId: number): boolean {
    const floor = this.control[shard + SHARD_FLOOR_HI]! * 2 ** 32 + (this.control[shard + SHARD_FLOOR_LO]! >>> 0);
    return version < floor || (version === floor && nodeId <= this.control[shard + SHARD_FLOOR_NODE_ID]! >>> 0);
  }

  isTombstone(location: number): boolean {
    return (this.arena.wordsAt(location)[this.arena.wordIndex(location) + RECORD_META]! & FLAG_TOMBSTONE) !== 0;
  }

  isExpired(location: number, nowMs: number): boolean {
    const expiresAtMs = this.expiresAtMs(location);
    return expiresAtMs !== 0 && expiresAtMs <= nowMs;
  }

  version(location: number): number {
    return versionOf(this.arena.wordsAt(location), this.arena.wordIndex(location));
  }

  nodeId(location: number): number {
    return nodeIdOf(this.arena.wordsAt(location), this.arena.wordIndex(location));
  }

  /** Absolute, in ms since the Unix epoch; 0 = never. */
  expiresAtMs(location: number): number {
    return expiryOf(this.arena.wordsAt(location), this.arena.wordIndex(location));
  }

  attributes(location: number): Attributes {
    const word = this.arena.wordIndex(location);
    return attributesOf(this.arena.wordsAt(location)[word + RECORD_META]!, this.arena.bytesAt(location), word << 2);
  }

  valueBytes(location: number): number {
    return this.arena.wordsAt(location)[this.arena.wordIndex(location) + RECORD_VALUE_BYTES]!;
  }

  fileExpiry(shard: number, location: number): void {
    if (this.isFiled(location)) this.wheel.add(shard, location);
  }

  unfileExpiry(shard: number, location: number): void {
    if (this.isFiled(location)) this.wheel.remove(shard, location);
  }

  private isFiled(location: number): boolean {
    const words = this.arena.wordsAt(location);
    const word = this.arena.wordIndex(location);
    return (words[word + RECORD_META]! & FLAG_EXPIRES) !== 0 && expiryOf(words, word) !== 0;
  }

  private repoint(shard: number, slot: number, location: number): void {
    const at = this.index.slotAt(this.arena.indexPageTable(shard), slot);
    this.index.beginChange(shard);
    this.arena.words[at >>> BUFFER_UNIT_SHIFT]![((at & BUFFER_UNIT_MASK) << 1) + SLOT_LOCATION] = location;
    this.index.endChange(shard);
  }
}
