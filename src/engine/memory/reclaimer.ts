import type { Arena } from "./arena.ts";
import type { Eviction } from "./eviction.ts";
import { SEGMENT_RESERVED_BYTES, SHARD_LOCK } from "./layout.ts";
import { INDEX_FULL, type NeedsRoom } from "./record-writer.ts";
import type { SegmentPool } from "./segment-pool.ts";
import { Victim } from "./victim.ts";

/** Records that are looked at before other work of the thread gets its turn: some 0.5 ms. */
const STEPS_PER_TURN = 512;
const SEGMENTS_BESIDES = 4;

/** Frees segments: what is dead first, then what the policy gives (see `victim.ts`), shard by shard under its lock. */
export class Reclaimer {
  private readonly victim: Victim;

  constructor(
    private readonly arena: Arena,
    private readonly pool: SegmentPool,
    private readonly eviction: Eviction,
  ) {
    this.victim = new Victim(arena);
  }

  /** Segments that a put of so many bytes may need: besides its own, at the ends of a queue and for the index. */
  segmentsFor(valueBytes: number): number {
    const { segmentBytes } = this.arena.geometry;
    return Math.floor(valueBytes / (segmentBytes - SEGMENT_RESERVED_BYTES)) + SEGMENTS_BESIDES;
  }

  /** Whether so many are free. */
  has(segments: number): boolean {
    return this.pool.available() >= segments + this.arena.geometry.spareSegments;
  }

  /** Whether anything is left that could go. */
  canMake(): boolean {
    return this.victim.choose();
  }

  /**
   * Makes the room that a mutation of a shard needs. False = nothing is left that could go. Needs no lock held. How long
   * it takes grows with the room: more than a few segments are made by `makeSome`, before the mutation.
   */
  make(shard: number, needed: NeedsRoom, nowMs: number): boolean {
    if (needed === INDEX_FULL) return this.shrink(shard, nowMs);
    this.compact(shard, nowMs);
    while (!this.has(needed + this.eviction.ghostPages)) {
      if (this.evictSome(nowMs) < 0) return false;
    }
    return true;
  }

  /** The same in turns: a bounded number of records a call. True = there is room, or nothing is left that could go. */
  makeSome(segments: number, nowMs: number): boolean {
    for (let steps = 0; !this.has(segments + this.eviction.ghostPages); ) {
      if (steps >= STEPS_PER_TURN) return false;
      const done = this.evictSome(nowMs);
      if (done < 0) return true;
      steps += done;
    }
    return true;
  }

  /** Gives how many records were looked at, or -1 if no shard has any. */
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

  /** Makes room in the index of a shard, which has all pages that it may have: its own oldest records leave. */
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
