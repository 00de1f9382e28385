import type { Arena } from "./arena.ts";
import type { ExpiryWheel } from "./expiry-wheel.ts";
import { COUNT_EXPIRATIONS, SHARD_LOCK } from "./layout.ts";
import type { ShardStore } from "./shard-store.ts";

/** Records removed while a shard's lock is held. */
const PRUNED_PER_LOCK = 32;
/**
 * Records removed in one turn, before other work of the thread runs: some 20 µs. A turn of the event loop answers at
 * most one request per connection; when a million entries expire at once, shorter turns give waiting requests a larger
 * share of the thread. The total length of the turns is the same.
 */
const PRUNED_PER_TURN = 32;
/** The same for a shard whose pruning is late, so that a constant stream of requests cannot keep memory occupied. */
const PRUNED_PER_LATE_TURN = 128;
const LATE_AFTER_MS = 1000;

/** Removes expired entries, shard by shard, in short turns. */
export class Pruner {
  /** The shard at which pruning continues. */
  private pruneNext = 0;

  constructor(
    private readonly arena: Arena,
    private readonly store: ShardStore,
    private readonly wheel: ExpiryWheel,
    private readonly counters: Float64Array,
    private readonly clock: () => number,
  ) {}

  /** Removes a bounded number of entries. True = all due entries are gone. */
  prune(): boolean {
    const nowMs = this.clock();
    const { shardCount } = this.arena.geometry;
    const isLate = this.wheel.lagMs(this.arena.shard(this.pruneNext), nowMs) > LATE_AFTER_MS;
    let left = isLate ? PRUNED_PER_LATE_TURN : PRUNED_PER_TURN;
    for (let seen = 0; seen < shardCount; ) {
      const shard = this.arena.shard(this.pruneNext);
      const pruned = this.pruneShard(shard, nowMs);
      if (pruned < PRUNED_PER_LOCK) {
        this.pruneNext = (this.pruneNext + 1) % shardCount;
        seen++;
      }
      left -= pruned;
      if (left <= 0) return false;
    }
    return true;
  }

  private pruneShard(shard: number, nowMs: number): number {
    let steps = 0;
    this.arena.locks.lock(shard + SHARD_LOCK);
    try {
      while (steps < PRUNED_PER_LOCK) {
        const location = this.wheel.nextDue(shard, nowMs, PRUNED_PER_LOCK);
        if (location === 0) break;
        if (location === -1) return PRUNED_PER_LOCK;
        steps++;
        if (!this.store.isTombstone(location)) this.counters[COUNT_EXPIRATIONS]!++;
        this.store.forget(shard, this.store.slotOf(shard, location), location);
      }
    } catch (error) {
      throw this.arena.locks.breakAt(shard + SHARD_LOCK, error);
    } finally {
      this.arena.locks.unlock(shard + SHARD_LOCK);
    }
    return steps;
  }
}
