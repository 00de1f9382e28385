import type { Arena } from "./arena.ts";
import type { GhostTable } from "./ghost-table.ts";
import type { HalfSipHash } from "./half-sip-hash.ts";
import {
  CHAIN_HEAD,
  CHAIN_LIVE_UNITS,
  CHAIN_TAIL,
  COUNT_EVICTIONS,
  COUNT_EXPIRATIONS,
  COUNT_MAIN_EVICTIONS,
  FLAG_DEAD,
  FLAG_MAIN,
  RECORD_META,
  SEGMENT_RESERVED_BYTES,
  SHARD_MAIN,
  SHARD_SEGMENTS,
  SHARD_SMALL,
  UNIT_BYTES,
} from "./layout.ts";
import { chainOf, type RecordLog } from "./record-log.ts";
import type { SegmentPool } from "./segment-pool.ts";
import type { ShardStore } from "./shard-store.ts";

/** The small queue's share of the live bytes, above which it gives first. */
const SMALL_SHARE = 0.1;
/** Uses since it came in that a record in the small queue needs to be moved to the main one. */
const PROMOTION_USES = 2;
/** A segment with less alive than this share is emptied before anything is evicted. */
const SPARSE_SHARE = 0.75;
/** Records that one call may keep; after them everything it meets must go, so that its time is bounded. */
const MAX_KEPT = 2048;

/**
 * Makes room in a shard: eviction, compaction and the freeing of segments are one mechanism.
 *
 * Source: J. Yang et al., "FIFO queues are all you need for cache eviction" (S3-FIFO, SOSP '23), algorithm 1: new
 * records enter a small FIFO queue; those used again by its end move to the main queue, the others leave and are
 * remembered as ghosts; ghosts that come back enter the main queue; the main queue's end gives second chances.
 * Queues as chains of log segments: J. Yang et al., "Segcache" (NSDI '21), section 3; choice of the emptiest segment:
 * M. Rosenblum, J. Ousterhout, "The Design and Implementation of a Log-Structured File System" (SOSP '91), section 3.
 */
export class Eviction {
  private readonly control: Int32Array;
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

  /** Frees at least one segment of a shard. False = it holds nothing that could go. Needs the shard's lock. */
  reclaim(shard: number, nowMs: number): boolean {
    const ghostPages = this.ghosts.pagesWanted(shard);
    const target = this.control[shard + SHARD_SEGMENTS]! - ghostPages;
    this.kept = 0;
    while (this.control[shard + SHARD_SEGMENTS]! >= target) {
      const sparse = this.kept < MAX_KEPT ? this.sparsestSegment(shard) : -1;
      if (sparse >= 0 && this.empty(shard, sparse, nowMs)) continue;
      if (!this.evictNext(shard, nowMs)) return this.control[shard + SHARD_SEGMENTS]! < target;
    }
    if (ghostPages > 0 && this.pool.reserve(ghostPages, 0)) this.ghosts.grow(shard, ghostPages);
    return true;
  }

  /** Lets the next record of one of the queues go, or keeps it at the head of the main queue. */
  private evictNext(shard: number, nowMs: number): boolean {
    const main = !this.takesFromSmall(shard);
    for (;;) {
      const location = this.log.tail(shard, main);
      if (location === 0) return this.log.tail(shard, true) !== 0 || this.log.tail(shard, false) !== 0;
      this.log.passTail(shard, main);
      if (!this.isDead(location)) {
        this.decide(shard, location, main, nowMs);
        this.log.dropEmptyHead(shard, main);
        return true;
      }
    }
  }

  private takesFromSmall(shard: number): boolean {
    if (this.log.tail(shard, true) === 0) return true;
    if (this.log.tail(shard, false) === 0) return false;
    const small = this.control[shard + SHARD_SMALL + CHAIN_LIVE_UNITS]!;
    return small > (small + this.control[shard + SHARD_MAIN + CHAIN_LIVE_UNITS]!) * SMALL_SHARE;
  }

  private decide(shard: number, location: number, main: boolean, nowMs: number): void {
    const slot = this.store.slotOf(shard, location);
    if (this.store.isExpired(location, nowMs)) {
      if (!this.store.isTombstone(location)) this.counters[COUNT_EXPIRATIONS]!++;
      this.store.forget(shard, slot, location);
      return;
    }
    const tombstone = this.store.isTombstone(location);
    const useCount = this.store.useCount(shard, slot);
    const stays = tombstone || (main ? useCount > 0 : useCount >= PROMOTION_USES);
    if (stays && this.kept < MAX_KEPT && this.keep(shard, slot, location, true, main && !tombstone ? useCount - 1 : 0))
      return;
    if (tombstone) {
      this.store.forgetTombstone(shard, slot, location);
      return;
    }
    this.counters[COUNT_EVICTIONS]!++;
    if (main) this.counters[COUNT_MAIN_EVICTIONS]!++;
    else {
      this.store.hashOf(location);
      this.ghosts.add(shard, this.hasher.hi);
    }
    this.store.forget(shard, slot, location);
  }

  /** Copies a record to the head of a queue. False = there is no segment to copy it to. */
  private keep(shard: number, slot: number, location: number, toMain: boolean, useCount: number): boolean {
    const needed = this.log.segmentsNeededToCopy(shard, location, toMain);
    if (needed > 0 && !this.pool.reserve(needed, 0)) return false;
    this.store.move(shard, slot, location, toMain, useCount);
    this.kept++;
    return true;
  }

  /** The segment with the least alive, if that is little; not one at the end of a queue, which is next anyway. */
  private sparsestSegment(shard: number): number {
    let least = (this.arena.segmentBytes / UNIT_BYTES) * SPARSE_SHARE;
    let sparsest = -1;
    for (let main = 0; main < 2; main++) {
      const chain = chainOf(shard, main === 1);
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

  /** Moves everything alive in a segment to the head of its queue. False = there was no room to move it to. */
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
      if (this.isDead(location)) continue;
      const units = (offset - this.arena.offsetOf(location)) / UNIT_BYTES;
      if (!this.carryOver(shard, location, nowMs)) return false;
      // With its last live unit gone the segment has left the shard, and its bytes with it.
      alive -= units;
      if (alive === 0) return true;
    }
    return continued && this.emptyInto(shard, before, nowMs);
  }

  /** Moves the record that begins in one segment and ends in the next, which alone keeps that one in use. */
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
      if (!this.store.isTombstone(location)) this.counters[COUNT_EXPIRATIONS]!++;
      this.store.forget(shard, slot, location);
      return true;
    }
    const words = this.arena.wordsAt(location);
    const main = (words[this.arena.wordIndex(location) + RECORD_META]! & FLAG_MAIN) !== 0;
    return this.keep(shard, slot, location, main, this.store.useCount(shard, slot));
  }

  private isDead(location: number): boolean {
    return (this.arena.wordsAt(location)[this.arena.wordIndex(location) + RECORD_META]! & FLAG_DEAD) !== 0;
  }
}
