/**
 * The pattern deletes and clears of the last minutes, seen by all threads of a node.
 *
 * A delete of one key leaves a tombstone in the engine. A pattern has no key to leave one at: it is kept here, and who
 * puts a value with an old stamp (a fill, a mutation of a peer, a write that waited for the outbox) asks before and after
 * the put. Asked before, it keeps the value out; asked after, it finds the invalidation that came in between: one that
 * comes later still is entered here before it walks the engine, and so meets the value itself.
 */

import { Glob, MAX_PATTERN_BYTES } from "../model/glob.ts";
import type { Key } from "../model/key.ts";
import type { KeyPattern } from "../model/matcher.ts";
import { isNewer, type Stamp, type Version } from "../model/stamp.ts";
import { lock, unlock } from "../runtime/shared-lock.ts";

/** Invalidations that are kept. Of those that had to make way, only the newest stamp is: it covers every key. */
const SLOTS = 512;
/** Room for stamp and length, and for the longest pattern. */
const SLOT_BYTES = 24 + MAX_PATTERN_BYTES;
const HEADER_BYTES = 64;

/** Int32 words of the header. */
const LOCK = 0;
/** Invalidations ever added. */
const ADDED = 1;

/** Float64 words of the header. */
const NEWEST = 1;
const FLOOR_VERSION = 2;
const FLOOR_NODE_ID = 3;

/** In a slot: version and node id as Float64, pattern length as Int32 (-1 = all keys), pattern. */
const SLOT_NODE_ID = 8;
const SLOT_LENGTH = 16;
const SLOT_PATTERN = 20;
const ALL_KEYS = -1;

interface Remembered {
  readonly stamp: Stamp;
  /** Null = all keys. */
  readonly pattern: KeyPattern | null;
}

export class RecentInvalidations {
  readonly #words: Int32Array;
  readonly #numbers: Float64Array;
  readonly #bytes: Buffer;
  /** What this thread has read of the slots so far, the oldest first. */
  #known: Remembered[] = [];
  #knownUntil = 0;
  #floor: Stamp = { version: 0 as Version, nodeId: 0 };

  static create(): RecentInvalidations {
    return new RecentInvalidations(new SharedArrayBuffer(HEADER_BYTES + SLOTS * SLOT_BYTES));
  }

  /** Uses those that another thread made. */
  static attach(buffer: SharedArrayBuffer): RecentInvalidations {
    return new RecentInvalidations(buffer);
  }

  private constructor(
    /** Hand this to other threads, for `attach`. */
    readonly buffer: SharedArrayBuffer,
  ) {
    this.#words = new Int32Array(buffer, 0, HEADER_BYTES / 4);
    this.#numbers = new Float64Array(buffer, 0, HEADER_BYTES / 8);
    this.#bytes = Buffer.from(buffer);
  }

  /** To be called before the entries that match are removed. `pattern` null = all keys. */
  add(pattern: string | null, stamp: Stamp): void {
    const text = pattern === null ? null : Buffer.from(pattern);
    lock(this.#words, LOCK);
    const added = this.#words[ADDED] ?? 0;
    const slot = HEADER_BYTES + (added % SLOTS) * SLOT_BYTES;
    if (added >= SLOTS) this.#raiseFloor(this.#stampAt(slot));
    this.#bytes.writeDoubleLE(stamp.version, slot);
    this.#bytes.writeDoubleLE(stamp.nodeId, slot + SLOT_NODE_ID);
    this.#bytes.writeInt32LE(text === null ? ALL_KEYS : text.length, slot + SLOT_LENGTH);
    text?.copy(this.#bytes, slot + SLOT_PATTERN);
    if (stamp.version > (this.#numbers[NEWEST] ?? 0)) this.#numbers[NEWEST] = stamp.version;
    this.#words[ADDED] = added + 1;
    unlock(this.#words, LOCK);
  }

  /**
   * The newest invalidation that is newer than a mutation of the key; null = none is. One that is no longer known in
   * full counts for every key: a value may be missed, but none comes back.
   */
  covering(key: Key, stamp: Stamp): Stamp | null {
    // A torn read of the newest is no harm: it is asked again after the put, with a lock in between.
    if (stamp.version > (this.#numbers[NEWEST] ?? 0)) return null;
    this.#catchUp();
    let found: Stamp | null = isNewer(this.#floor, stamp) ? this.#floor : null;
    for (const { pattern, stamp: other } of this.#known) {
      if (!isNewer(other, found ?? stamp)) continue;
      if (pattern === null || pattern.matches(key.bytes, 0, key.length)) found = other;
    }
    return found;
  }

  /** Reads what other threads have added since the last call. */
  #catchUp(): void {
    if (Atomics.load(this.#words, ADDED) === this.#knownUntil) return;
    lock(this.#words, LOCK);
    const added = this.#words[ADDED] ?? 0;
    const oldest = Math.max(0, added - SLOTS);
    const known = this.#known.slice(Math.max(0, oldest - (this.#knownUntil - this.#known.length)));
    for (let at = Math.max(oldest, this.#knownUntil); at < added; at++) known.push(this.#read(at));
    this.#known = known;
    this.#knownUntil = added;
    this.#floor = {
      version: (this.#numbers[FLOOR_VERSION] ?? 0) as Version,
      nodeId: this.#numbers[FLOOR_NODE_ID] ?? 0,
    };
    unlock(this.#words, LOCK);
  }

  #read(at: number): Remembered {
    const slot = HEADER_BYTES + (at % SLOTS) * SLOT_BYTES;
    const length = this.#bytes.readInt32LE(slot + SLOT_LENGTH);
    const start = slot + SLOT_PATTERN;
    const pattern = length === ALL_KEYS ? null : Glob.parse(this.#bytes.toString("utf8", start, start + length));
    return { stamp: this.#stampAt(slot), pattern };
  }

  #stampAt(slot: number): Stamp {
    return {
      version: this.#bytes.readDoubleLE(slot) as Version,
      nodeId: this.#bytes.readDoubleLE(slot + SLOT_NODE_ID),
    };
  }

  #raiseFloor(stamp: Stamp): void {
    const floor: Stamp = {
      version: (this.#numbers[FLOOR_VERSION] ?? 0) as Version,
      nodeId: this.#numbers[FLOOR_NODE_ID] ?? 0,
    };
    if (!isNewer(stamp, floor)) return;
    this.#numbers[FLOOR_VERSION] = stamp.version;
    this.#numbers[FLOOR_NODE_ID] = stamp.nodeId;
  }
}
