import { holdsJson, JSON_ATTRIBUTES, NEVER, NO_TOMBSTONE } from "../../model/entry.ts";
import type { Key } from "../../model/key.ts";
import { FILL_NODE_ID, isSame, type Stamp, type Version } from "../../model/stamp.ts";
import {
  type Condition,
  type DeleteOutcome,
  type DeleteRequest,
  type IncrementOutcome,
  type IncrementRequest,
  MAX_INTEGER_TEXT_BYTES,
  type PutOutcome,
  type PutRequest,
  type TouchOutcome,
  type TouchRequest,
} from "../engine.ts";
import type { Arena } from "./arena.ts";
import type { HalfSipHash } from "./half-sip-hash.ts";
import { COUNT_DELETES, COUNT_SETS, FLAG_COUNTED, FLAG_TOMBSTONE, SHARD_LOCK } from "./layout.ts";
import type { Reclaimer } from "./reclaimer.ts";
import { nodeIdOf, versionOf } from "./record.ts";
import type { NeedsRoom, NewRecord, RecordWriter } from "./record-writer.ts";
import type { ShardStore } from "./shard-store.ts";
import type { Tombstones } from "./tombstones.ts";

const NO_ENTRY = { source: Buffer.alloc(0), start: 0, end: 0, attributes: JSON_ATTRIBUTES };

/**
 * Executes mutations, one shard at a time, under its lock. When memory is short, it releases the lock, makes room
 * (perhaps in another shard), and retries the mutation, so that a thread never holds two shards.
 */
export class Writer {
  private readonly shardMask: number;

  constructor(
    private readonly arena: Arena,
    private readonly store: ShardStore,
    private readonly records: RecordWriter,
    private readonly room: Reclaimer,
    private readonly tombstones: Tombstones,
    private readonly hasher: HalfSipHash,
    private readonly counters: Float64Array,
    private readonly clock: () => number,
  ) {
    this.shardMask = arena.geometry.shardCount - 1;
  }

  fits(keyLength: number, value: Pick<PutRequest, "start" | "end" | "attributes">): boolean {
    return this.records.fits(keyLength, value, true, true);
  }

  put(request: PutRequest): PutOutcome {
    if (!this.records.planRecord(request, request.expiresAtMs !== NEVER)) return "too-large";
    const nowMs = this.clock();
    for (;;) {
      const shard = this.lock(request.key);
      let outcome: PutOutcome | NeedsRoom;
      try {
        outcome = this.tryPut(shard, request, nowMs);
      } catch (error) {
        throw this.arena.locks.breakAt(shard + SHARD_LOCK, error);
      } finally {
        this.arena.locks.unlock(shard + SHARD_LOCK);
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
      } catch (error) {
        throw this.arena.locks.breakAt(shard + SHARD_LOCK, error);
      } finally {
        this.arena.locks.unlock(shard + SHARD_LOCK);
      }
      if (typeof outcome === "string") return outcome;
      if (!this.room.make(shard, outcome, nowMs)) return this.deleteWithoutRoom(request, nowMs);
    }
  }

  touch(request: TouchRequest): TouchOutcome {
    const nowMs = this.clock();
    for (;;) {
      const shard = this.lock(request.key);
      let outcome: TouchOutcome | NeedsRoom;
      try {
        outcome = this.tryTouch(shard, request, nowMs);
      } catch (error) {
        throw this.arena.locks.breakAt(shard + SHARD_LOCK, error);
      } finally {
        this.arena.locks.unlock(shard + SHARD_LOCK);
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
      } catch (error) {
        throw this.arena.locks.breakAt(shard + SHARD_LOCK, error);
      } finally {
        this.arena.locks.unlock(shard + SHARD_LOCK);
      }
      if (typeof outcome !== "number") return outcome;
      if (!this.room.make(shard, outcome, nowMs)) return { kind: "too-large" };
    }
  }

  /** The stamp of the newest known mutation of a key, deletes included; null = none is known. */
  stampOf(key: Key): Stamp | null {
    const shard = this.lock(key);
    try {
      return this.find(shard, key) < 0 ? null : this.stampAt(this.store.foundLocation);
    } catch (error) {
      throw this.arena.locks.breakAt(shard + SHARD_LOCK, error);
    } finally {
      this.arena.locks.unlock(shard + SHARD_LOCK);
    }
  }

  private lock(key: Key): number {
    this.hasher.digest(key.bytes, 0, key.length);
    const shard = this.arena.shard(this.hasher.lo & this.shardMask);
    this.arena.locks.lock(shard + SHARD_LOCK);
    return shard;
  }

  private tryPut(shard: number, request: PutRequest, nowMs: number): PutOutcome | NeedsRoom {
    const slot = this.find(shard, request.key);
    if (this.isSuperseded(shard, slot, request.stamp)) return "superseded";
    if (!this.holds(request.condition, slot, nowMs)) return "condition-failed";
    const needed = this.records.write(shard, slot, request, 0, nowMs);
    if (needed !== 0) return needed;
    this.counters[COUNT_SETS]!++;
    return "stored";
  }

  private tryDelete(shard: number, request: DeleteRequest, nowMs: number): DeleteOutcome | NeedsRoom {
    const tombstone = request.tombstoneUntilMs === NO_TOMBSTONE ? null : this.planTombstone(shard, request);
    const slot = this.find(shard, request.key);
    if (this.isSuperseded(shard, slot, request.stamp)) return "superseded";
    if (!this.holds(request.condition, slot, nowMs)) return "condition-failed";
    const live = this.isLive(slot, nowMs);
    const needed = tombstone === null ? 0 : this.records.write(shard, slot, tombstone, FLAG_TOMBSTONE, nowMs);
    if (needed !== 0 && live) return needed;
    // A delete of an absent key evicts nothing: without room, its version is remembered by bucket.
    if (tombstone === null || needed !== 0) this.removeWithoutTombstone(shard, slot, request, nowMs);
    if (!live) return "absent";
    this.counters[COUNT_DELETES]!++;
    return "deleted";
  }

  private planTombstone(shard: number, { key, stamp, tombstoneUntilMs }: DeleteRequest): NewRecord {
    const tombstone = { key, ...NO_ENTRY, expiresAtMs: tombstoneUntilMs, stamp };
    this.records.planRecord(tombstone, true);
    this.tombstones.keepShare(shard, this.records.plan);
    return tombstone;
  }

  private removeWithoutTombstone(shard: number, slot: number, request: DeleteRequest, nowMs: number): void {
    const { stamp, tombstoneUntilMs } = request;
    if (tombstoneUntilMs !== NO_TOMBSTONE) this.raiseFloor(shard, stamp);
    if (slot >= 0) {
      this.records.countIfExpired(nowMs);
      this.store.remove(shard, slot, this.store.foundLocation);
    }
    this.arena.forgotten.add(this.arena.shardNumber(shard), this.hasher.hi >>> 2, stamp.version);
  }

  private tryTouch(shard: number, request: TouchRequest, nowMs: number): TouchOutcome | NeedsRoom {
    const { key, expiresAtMs, seen } = request;
    const slot = this.find(shard, key);
    if (!this.holds(request.condition, slot, nowMs)) return "condition-failed";
    if (!this.isLive(slot, nowMs)) return "absent";
    const location = this.store.foundLocation;
    const stamp = this.stampAt(location);
    if (seen !== null && !isSame(seen, stamp)) return "absent";
    if (this.records.canTouchInPlace(location, expiresAtMs)) {
      this.records.touchInPlace(shard, location, expiresAtMs);
      return "touched";
    }
    const record: NewRecord = {
      ...{ key, expiresAtMs, stamp },
      source: this.store.log.inlineValue(location),
      start: 0,
      end: this.store.valueBytes(location),
      attributes: this.store.attributes(location),
    };
    this.records.planRecord(record, expiresAtMs !== NEVER);
    const flags = this.records.countedFlag(location);
    // The blob is not copied: however large the value is, a touch needs only the room of the rest, and copies only
    // that.
    const needed = this.records.write(shard, slot, record, flags, nowMs, this.store.log.blobOf(location));
    return needed !== 0 ? needed : "touched";
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
      attributes: JSON_ATTRIBUTES,
      expiresAtMs: live ? this.store.expiresAtMs(this.store.foundLocation) : request.expiresAtMsIfNew,
      stamp: request.stamp,
    };
    if (!this.records.planRecord(record, record.expiresAtMs !== NEVER)) return { kind: "too-large" };
    const needed = this.records.write(shard, slot, record, live ? FLAG_COUNTED : 0, nowMs);
    if (needed !== 0) return needed;
    this.counters[COUNT_SETS]!++;
    return { kind: "incremented", value };
  }

  /** The tombstone has no room: the delete is remembered by bucket, or the shard refuses older mutations. */
  private deleteWithoutRoom(request: DeleteRequest, nowMs: number): DeleteOutcome {
    const shard = this.lock(request.key);
    try {
      // The lock was released in between: another thread may have written since.
      const outcome = this.tryDelete(shard, { ...request, tombstoneUntilMs: NO_TOMBSTONE }, nowMs);
      if (typeof outcome !== "string") throw new Error("a delete without a tombstone needs room");
      if (outcome !== "superseded" && outcome !== "condition-failed") this.raiseFloor(shard, request.stamp);
      return outcome;
    } catch (error) {
      throw this.arena.locks.breakAt(shard + SHARD_LOCK, error);
    } finally {
      this.arena.locks.unlock(shard + SHARD_LOCK);
    }
  }

  /** Without evicted versions by bucket, the whole shard refuses mutations older than a delete without a tombstone. */
  private raiseFloor(shard: number, { version, nodeId }: Stamp): void {
    if (!this.arena.forgotten.isEnabled) this.store.raiseFloor(shard, version, nodeId);
  }

  private find(shard: number, key: Key): number {
    return this.store.findKey(shard, this.hasher.hi >>> 2, key.bytes, key.length);
  }

  /** The version rule: whether the stored record, or the last clear, is as new as the stamp or newer. */
  private isSuperseded(shard: number, slot: number, stamp: Stamp): boolean {
    if (this.store.isUnderFloor(shard, stamp.version, stamp.nodeId)) return true;
    if (slot < 0) return this.isForgotten(shard, stamp);
    if (stamp.nodeId !== FILL_NODE_ID && this.isFillHere()) return this.isForgotten(shard, stamp);
    const words = this.arena.wordsAt(this.store.foundLocation);
    const word = this.arena.wordIndex(this.store.foundLocation);
    const version = versionOf(words, word);
    return version > stamp.version || (version === stamp.version && nodeIdOf(words, word) >= stamp.nodeId);
  }

  private stampAt(location: number): Stamp {
    const words = this.arena.wordsAt(location);
    const word = this.arena.wordIndex(location);
    return { version: versionOf(words, word) as Version, nodeId: nodeIdOf(words, word) };
  }

  private isForgotten(shard: number, stamp: Stamp): boolean {
    return stamp.version <= this.arena.forgotten.newest(this.arena.shardNumber(shard), this.hasher.hi >>> 2);
  }

  /** Without evicted versions, a fill counts as much as a mutation. */
  private isFillHere(): boolean {
    return this.arena.forgotten.isEnabled && this.store.isFill(this.store.foundLocation);
  }

  /** Whether the found record is visible to clients. */
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
      case "revision-in":
        return live && condition.revisions.includes(this.store.version(this.store.foundLocation));
      case "revision-not-in":
        return !live || !condition.revisions.includes(this.store.version(this.store.foundLocation));
    }
  }

  /** The value as a safe integer, or null. */
  private readInteger(location: number): number | null {
    if (this.store.valueBytes(location) > MAX_INTEGER_TEXT_BYTES || !holdsJson(this.store.attributes(location)))
      return null;
    const text = this.store.log.value(location).toString("latin1");
    if (!/^[ \t\n\r]*-?(?:0|[1-9][0-9]*)[ \t\n\r]*$/.test(text)) return null;
    const value = Number(text);
    return Number.isSafeInteger(value) ? value : null;
  }
}
