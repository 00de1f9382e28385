import type { Arena } from "./arena.ts";
import type { GhostTable } from "./ghost-table.ts";
import type { HalfSipHash } from "./half-sip-hash.ts";
import {
  CHAIN_BORN,
  CHAIN_HEAD,
  CHAIN_LIVE_UNITS,
  CHAIN_TAIL,
  COUNT_EVICTIONS,
  COUNT_EXPIRATIONS,
  COUNT_MAIN_EVICTIONS,
  type Queue,
  RECORD_META,
  SEGMENT_RESERVED_BYTES,
  SHARD_MAIN,
  SHARD_SEGMENTS,
  SHARD_SMALL,
  UNIT_BYTES,
} from "./layout.ts";
import { queueOf } from "./record.ts";
import type { RecordLog } from "./record-log.ts";
import type { SegmentPool } from "./segment-pool.ts";
import type { ShardStore } from "./shard-store.ts";
import type { Victim } from "./victim.ts";

/** A segment whose live share is smaller than this is compacted before anything is evicted. */
const SPARSE_SHARE = 0.75;
/** The most records that are kept before a segment is free; after that, every record is evicted. */
const MAX_KEPT = 2048;
/** Records visited while a shard's lock is held: some 0.3 ms. */
const STEPS_PER_LOCK = 256;
/** Records evicted from a shard whose index is full, so that not every put has to evict again. */
const RECORDS_FROM_FULL_INDEX = 64;
const NEVER_PROMOTED = Number.POSITIVE_INFINITY;
/** The queues that eviction works on. Tombstones have their own share (`tombstones.ts`). */
const QUEUES = [SHARD_SMALL, SHARD_MAIN] as const;

/**
 * Makes room in a shard: eviction, compaction and the freeing of segments are one mechanism. `victim.ts` chooses the
 * shard and the queue.
 *
 * Source: J. Yang et al., "FIFO queues are all you need for cache eviction" (S3-FIFO, SOSP '23), algorithm 1: new
 * records enter a small FIFO queue; a record that was used again by the time it reaches the end moves to the main
 * queue, the others are evicted and remembered as ghosts; a ghost that is stored again enters the main queue; the main
 * queue gives second chances at its end. Queues as chains of log segments: J. Yang et al., "Segcache" (NSDI '21),
 * section 3; choice of the emptiest segment: M. Rosenblum, J. Ousterhout, "The Design and Implementation of a
 * Log-Structured File System" (SOSP '91), section 3.
 */
export class Eviction {
  private readonly control: Int32Array;
  /** Pages that the ghost table of the last shard still needs; they add to the room to be made. */
  ghostPages = 0;
  private kept = 0;

  constructor(
    private readonly arena: Arena,
    private readonly pool: SegmentPool,
    private readonly store: ShardStore,
    private readonly log: RecordLog,
    private readonly ghosts: GhostTable,
    private readonly hasher: HalfSipHash,
    private readonly counters: Float64Array,
  ) {
    this.control = arena.control;
  }

  /**
   * Evicts the oldest records of a queue, or moves them to the head of the main queue, until a segment is free, it is
   * another shard's turn, or the small queues are within their share. Returns the number of records visited. Needs the
   * shard's lock.
   */
  evict({ shard, queue, nextBorn, excessUnits, promotionUses }: Victim, nowMs: number): number {
    const before = this.kept;
    if (this.compact(shard, nowMs)) return Math.max(1, this.kept - before);
    const chain = shard + queue;
    const segments = this.control[shard + SHARD_SEGMENTS]!;
    const fewestUnits = queue === SHARD_SMALL ? this.control[chain + CHAIN_LIVE_UNITS]! - excessUnits : -1;
    let steps = 0;
    while (steps < STEPS_PER_LOCK) {
      const location = this.oldest(shard, queue);
      if (location === 0) break;
      const born = this.log.born(location);
      this.control[chain + CHAIN_BORN] = born;
      if (((born - nextBorn) | 0) > 0) break;
      if (this.control[shard + SHARD_SEGMENTS]! < segments) break;
      if (this.control[chain + CHAIN_LIVE_UNITS]! <= fewestUnits) break;
      this.letGo(shard, queue, location, promotionUses, nowMs);
      steps++;
    }
    if (this.control[shard + SHARD_SEGMENTS]! < segments) this.kept = 0;
    this.growGhosts(shard);
    return steps;
  }

  /**
   * Evicts records of one shard, whatever the other shards hold. False = the shard is empty. Needs the shard's lock.
   */
  evictFrom(shard: number, nowMs: number): boolean {
    for (let gone = 0; gone < RECORDS_FROM_FULL_INDEX; ) {
      const queue = this.oldest(shard, SHARD_SMALL) === 0 ? SHARD_MAIN : SHARD_SMALL;
      const location = this.oldest(shard, queue);
      if (location === 0) return gone > 0;
      if (!this.letGo(shard, queue, location, NEVER_PROMOTED, nowMs)) gone++;
    }
    return true;
  }

  /** Compacts the sparsest segment of a shard. False = none is sparse. Needs the shard's lock. */
  compact(shard: number, nowMs: number): boolean {
    const sparse = this.kept < MAX_KEPT ? this.sparsestSegment(shard) : -1;
    return sparse >= 0 && this.empty(shard, sparse, nowMs);
  }

  /** The oldest live record of a queue, or 0. */
  private oldest(shard: number, queue: Queue): number {
    for (let location = this.log.tail(shard, queue); location !== 0; location = this.log.tail(shard, queue)) {
      if (!this.log.isDead(location)) return location;
      this.log.passTail(shard, queue);
    }
    this.log.dropEmptyHead(shard, queue);
    return 0;
  }

  /** Evicts the record at the end of a queue, or moves it to the head of the main queue. True = it was kept. */
  private letGo(shard: number, queue: Queue, location: number, promotionUses: number, nowMs: number): boolean {
    this.log.passTail(shard, queue);
    const isKept = this.decide(shard, location, queue === SHARD_MAIN, promotionUses, nowMs);
    this.log.dropEmptyHead(shard, queue);
    return isKept;
  }

  private decide(shard: number, location: number, main: boolean, promotionUses: number, nowMs: number): boolean {
    const slot = this.store.slotOf(shard, location);
    if (this.store.isExpired(location, nowMs)) {
      this.counters[COUNT_EXPIRATIONS]!++;
      this.store.forget(shard, slot, location);
      return false;
    }
    const useCount = this.store.useCount(shard, slot);
    const stays = main ? useCount > 0 : useCount >= promotionUses;
    if (stays && this.kept < MAX_KEPT) {
      this.log.renew(location);
      if (this.keep(shard, slot, location, SHARD_MAIN, main ? useCount - 1 : 0)) return true;
    }
    this.counters[COUNT_EVICTIONS]!++;
    if (main) this.counters[COUNT_MAIN_EVICTIONS]!++;
    else {
      this.store.hashOf(location);
      this.ghosts.add(shard, this.hasher.hi);
    }
    this.store.forget(shard, slot, location);
    return false;
  }

  private growGhosts(shard: number): void {
    this.ghostPages = this.ghosts.pagesWanted(shard);
    if (this.ghostPages === 0 || !this.pool.reserve(this.ghostPages, this.arena.geometry.spareSegments)) return;
    this.ghosts.grow(shard, this.ghostPages);
    this.ghostPages = 0;
  }

  /** Copies a record to the head of a queue. False = no segment has room for the copy. */
  private keep(shard: number, slot: number, location: number, queue: Queue, useCount: number): boolean {
    const needed = this.log.segmentsNeededToCopy(shard, location, queue);
    if (needed > 0 && !this.pool.reserve(needed, 0)) return false;
    this.store.move(shard, slot, location, queue, useCount);
    this.kept++;
    return true;
  }

  /**
   * The segment with the smallest live share, if it is sparse. Segments at the end of a queue are left out, because
   * they are next anyway.
   */
  private sparsestSegment(shard: number): number {
    let least = (this.arena.segmentBytes / UNIT_BYTES) * SPARSE_SHARE;
    let sparsest = -1;
    for (const queue of QUEUES) {
      const chain = shard + queue;
      const head = this.control[chain + CHAIN_HEAD]!;
      const tail = this.control[chain + CHAIN_TAIL]!;
      if (tail === 0) continue;
      for (
        let at = this.control[this.arena.next + tail - 1]!;
        at !== 0 && at !== head;
        at = this.control[this.arena.next + at - 1]!
      ) {
        const live = this.control[this.arena.live + at - 1]!;
        if (live < least) {
          least = live;
          sparsest = at - 1;
        }
      }
    }
    return sparsest;
  }

  /** Moves all live records of a segment to the head of its queue. False = there was no room for the copies. */
  private empty(shard: number, segment: number, nowMs: number): boolean {
    const { first, used, live, prev } = this.arena;
    const end = this.control[used + segment]!;
    const continued = this.control[first + segment]! > SEGMENT_RESERVED_BYTES;
    const before = this.control[prev + segment]! - 1;
    let offset = this.control[first + segment]!;
    let alive = this.control[live + segment]!;
    while (offset < end) {
      const location = this.arena.location(segment, offset);
      offset = this.log.endInSegment(location);
      if (this.log.isDead(location)) continue;
      const units = (offset - this.arena.offsetOf(location)) / UNIT_BYTES;
      if (!this.carryOver(shard, location, nowMs)) return false;
      // When its last live unit is gone, the segment has already left the shard.
      alive -= units;
      if (alive === 0) return true;
    }
    return continued && this.emptyInto(shard, before, nowMs);
  }

  /** Moves the record that begins in one segment and ends in the next, if it alone keeps the latter in use. */
  private emptyInto(shard: number, before: number, nowMs: number): boolean {
    const end = this.control[this.arena.used + before]!;
    let location = 0;
    for (
      let offset = this.control[this.arena.first + before]!;
      offset < end;
      offset = this.log.endInSegment(location)
    ) {
      location = this.arena.location(before, offset);
    }
    return this.carryOver(shard, location, nowMs);
  }

  private carryOver(shard: number, location: number, nowMs: number): boolean {
    const slot = this.store.slotOf(shard, location);
    if (this.store.isExpired(location, nowMs)) {
      this.counters[COUNT_EXPIRATIONS]!++;
      this.store.forget(shard, slot, location);
      return true;
    }
    const meta = this.arena.wordsAt(location)[this.arena.wordIndex(location) + RECORD_META]!;
    return this.keep(shard, slot, location, queueOf(meta), this.store.useCount(shard, slot));
  }
}
