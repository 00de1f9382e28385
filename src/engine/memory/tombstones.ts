import type { Arena } from "./arena.ts";
import { CHAIN_SEGMENTS, SHARD_DELETED } from "./layout.ts";
import type { RecordPlan } from "./record.ts";
import type { RecordLog } from "./record-log.ts";
import type { ShardStore } from "./shard-store.ts";

/** Of a shard's due, how much its tombstones may take. */
const SHARE = 0.1;
/** One takes what is new while the other gives. */
const MIN_SEGMENTS = 2;
/** Bytes that leave for each byte that comes, so that the oldest segment is free before a new one is needed. */
const LEAVING_PER_COMING = 2;

/**
 * Keeps the tombstones of a shard to their share. They stand in a queue of their own: eviction never meets them, and where
 * the queue is full, the oldest are forgotten as when they end.
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

  /** Forgets the oldest where one more, of this plan, would be too many. */
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
