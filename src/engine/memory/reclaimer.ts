import type { Arena } from "./arena.ts";
import type { Eviction } from "./eviction.ts";
import { SEGMENT_RESERVED_BYTES, SHARD_LOCK } from "./layout.ts";
import { INDEX_FULL, type NeedsRoom } from "./record-writer.ts";
import type { SegmentPool } from "./segment-pool.ts";
import { Victim } from "./victim.ts";

/** Records visited before other work of the thread runs: some 0.5 ms. */
const STEPS_PER_TURN = 512;
const SEGMENTS_BESIDES = 4;

/**
 * Frees segments: first sparse ones by compaction, then by eviction as the policy decides (see `victim.ts`), shard by
 * shard under its lock.
 */
export class Reclaimer {
  private readonly victim: Victim;

  constructor(
    private readonly arena: Arena,
    private readonly pool: SegmentPool,
    private readonly eviction: Eviction,
  ) {
    this.victim = new Victim(arena);
  }

  /**
   * The most segments that a put of so many bytes needs: its own, plus those at the ends of a queue and for the index.
   */
  segmentsFor(valueBytes: number): number {
    const { segmentBytes } = this.arena.geometry;
    return Math.floor(valueBytes / (segmentBytes - SEGMENT_RESERVED_BYTES)) + SEGMENTS_BESIDES;
  }

  /** Whether so many segments are free. */
  has(segments: number): boolean {
    return this.pool.available() >= segments + this.arena.geometry.spareSegments;
  }

  /** Whether there is anything left to evict. */
  canMake(): boolean {
    return this.victim.choose();
  }

  /**
   * Makes the room that a mutation of a shard needs. False = nothing is left to evict. The caller holds no lock. The
   * time grows with the room: `makeSome` makes more than a few segments, before the mutation.
   */
  make(shard: number, needed: NeedsRoom, nowMs: number): boolean {
    if (needed === INDEX_FULL) return this.shrink(shard, nowMs);
    this.compact(shard, nowMs);
    while (!this.has(needed + this.eviction.ghostPages)) {
      if (this.evictSome(nowMs) < 0) return false;
    }
    return true;
  }

  /**
   * Makes room in turns: each call visits a bounded number of records. True = there is room, or nothing is left to
   * evict.
   */
  makeSome(segments: number, nowMs: number): boolean {
    for (let steps = 0; !this.has(segments + this.eviction.ghostPages); ) {
      if (steps >= STEPS_PER_TURN) return false;
      const done = this.evictSome(nowMs);
      if (done < 0) return true;
      steps += done;
    }
    return true;
  }

  /** Returns the number of records visited, or -1 if no shard has any. */
  private evictSome(nowMs: number): number {
    if (!this.victim.choose()) return -1;
    const { shard } = this.victim;
    this.arena.locks.lock(shard + SHARD_LOCK);
    try {
      return this.eviction.evict(this.victim, nowMs);
    } catch (error) {
      throw this.arena.locks.breakAt(shard + SHARD_LOCK, error);
    } finally {
      this.arena.locks.unlock(shard + SHARD_LOCK);
    }
  }

  private compact(shard: number, nowMs: number): void {
    this.arena.locks.lock(shard + SHARD_LOCK);
    try {
      this.eviction.compact(shard, nowMs);
    } catch (error) {
      throw this.arena.locks.breakAt(shard + SHARD_LOCK, error);
    } finally {
      this.arena.locks.unlock(shard + SHARD_LOCK);
    }
  }

  /**
   * Makes room in the index of a shard that already has its maximum of pages, by evicting the shard's oldest records.
   */
  private shrink(shard: number, nowMs: number): boolean {
    this.arena.locks.lock(shard + SHARD_LOCK);
    try {
      return this.eviction.evictFrom(shard, nowMs);
    } catch (error) {
      throw this.arena.locks.breakAt(shard + SHARD_LOCK, error);
    } finally {
      this.arena.locks.unlock(shard + SHARD_LOCK);
    }
  }
}
