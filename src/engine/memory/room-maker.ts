import type { Arena } from "./arena.ts";
import type { Eviction } from "./eviction.ts";
import { SHARD_LOCK, SHARD_SEGMENTS } from "./layout.ts";
import { lockMutex, unlockMutex } from "./mutex.ts";
import type { SegmentPool } from "./segment-pool.ts";

/**
 * Decides which shard gives when there is no free segment: the one that asks, if it holds its fair share; else the one
 * that holds most, so that the shards' shares grow equal again however uneven their first fill was.
 */
export class RoomMaker {
  private readonly control: Int32Array;

  constructor(
    private readonly arena: Arena,
    private readonly pool: SegmentPool,
    private readonly eviction: Eviction,
  ) {
    this.control = arena.control;
  }

  /** Frees segments until `count` can be reserved. False = nothing is left that could go. Needs no lock held. */
  make(shard: number, count: number, nowMs: number): boolean {
    const { segmentCount, shardCount, spareSegments } = this.arena.geometry;
    const fairShare = Math.floor((segmentCount - spareSegments) / shardCount);
    let victim = this.control[shard + SHARD_SEGMENTS]! >= fairShare ? shard : this.largestShard();
    // At first always one round, even where segments are free: the shard's index may be what is full.
    for (let round = 0; round <= segmentCount; round++) {
      if (!this.reclaim(victim, nowMs)) {
        const other = this.largestShard();
        if (other === victim || !this.reclaim(other, nowMs)) return false;
      }
      if (this.pool.available() >= count + spareSegments) return true;
      victim = this.largestShard();
    }
    return false;
  }

  private reclaim(shard: number, nowMs: number): boolean {
    lockMutex(this.control, shard + SHARD_LOCK);
    try {
      return this.eviction.reclaim(shard, nowMs);
    } finally {
      unlockMutex(this.control, shard + SHARD_LOCK);
    }
  }

  private largestShard(): number {
    let largest = this.arena.shard(0);
    for (let number = 1; number < this.arena.geometry.shardCount; number++) {
      const shard = this.arena.shard(number);
      if (this.control[shard + SHARD_SEGMENTS]! > this.control[largest + SHARD_SEGMENTS]!) largest = shard;
    }
    return largest;
  }
}
