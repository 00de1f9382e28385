import type { Arena } from "./arena.ts";
import { CHAIN_SEGMENTS, SHARD_DELETED } from "./layout.ts";
import type { RecordPlan } from "./record.ts";
import type { RecordLog } from "./record-log.ts";
import type { ShardStore } from "./shard-store.ts";

/** The share of a shard's memory that tombstones may take. */
const SHARE = 0.1;
/** One segment fills while the other drains. */
const MIN_SEGMENTS = 2;
/** Bytes removed for each byte added, so that the oldest segment is free before a new one is needed. */
const LEAVING_PER_COMING = 2;

/**
 * Limits the tombstones of a shard to their share. They have their own queue, which eviction never touches; when it is
 * full, the oldest are dropped and their versions remembered as if they had ended.
 *
 * Every call needs the shard's lock.
 */
export class Tombstones {
  private readonly maxSegments: number;

  constructor(
    private readonly arena: Arena,
    private readonly store: ShardStore,
    private readonly log: RecordLog,
  ) {
    const { segmentCount, spareSegments, shardCount } = arena.geometry;
    this.maxSegments = Math.max(MIN_SEGMENTS, Math.floor(((segmentCount - spareSegments) / shardCount) * SHARE));
  }

  /** Drops the oldest tombstones if one more with this plan would exceed the share. */
  keepShare(shard: number, plan: RecordPlan): void {
    if (this.segments(shard) < this.maxSegments) return;
    let left = plan.recordBytes * LEAVING_PER_COMING;
    while (
      left > 0 ||
      (this.segments(shard) >= this.maxSegments && this.log.segmentsNeeded(shard, SHARD_DELETED, plan) > 0)
    ) {
      const location = this.log.tail(shard, SHARD_DELETED);
      if (location === 0) break;
      const end = this.log.endInSegment(location);
      left -= end - this.arena.offsetOf(location);
      this.log.passTail(shard, SHARD_DELETED);
      if (!this.log.isDead(location)) this.store.forgetTombstone(shard, this.store.slotOf(shard, location), location);
    }
    this.log.dropEmptyHead(shard, SHARD_DELETED);
  }

  private segments(shard: number): number {
    return this.arena.control[shard + SHARD_DELETED + CHAIN_SEGMENTS]!;
  }
}
