import { InvalidCursorError, type KeyPattern, type ScanPage, type ScanRequest, type Stamp } from "../engine.ts";
import type { Arena } from "./arena.ts";
import type { ExpiryWheel } from "./expiry-wheel.ts";
import type { GhostTable } from "./ghost-table.ts";
import type { IndexTable } from "./index-table.ts";
import {
  BUFFER_UNIT_MASK,
  BUFFER_UNIT_SHIFT,
  COUNT_DELETES,
  COUNT_EXPIRATIONS,
  FLAG_TOUCHED,
  KEY_LENGTH_MASK,
  RECORD_META,
  SHARD_LOCK,
  SHARD_NEWEST_HI,
  SHARD_NEWEST_LO,
  SHARD_TOMBSTONES,
  SLOT_LOCATION,
} from "./layout.ts";
import { lockMutex, unlockMutex } from "./mutex.ts";
import { keyOffset, originOf, versionOf } from "./record.ts";
import type { RecordLog } from "./record-log.ts";
import type { ShardStore } from "./shard-store.ts";

/** A step's cost is counted in records; so many empty slots cost as much as one record. */
const EMPTY_SLOTS_PER_RECORD = 32;
/** Cost of what is done while a shard's lock is held: some 50 µs. */
const COST_PER_LOCK = 256;
/**
 * Cost after which other work of the thread gets its turn: some 0.2 ms. A turn of the event loop answers about one
 * request per connection, so longer steps would leave busy connections too small a share of the thread.
 */
const COST_PER_TURN = 512;
/** Cost of one page of a scan at most: a millisecond or two. */
const COST_PER_PAGE = 4096;
/** Records that are pruned while a shard's lock is held. */
const PRUNED_PER_LOCK = 128;
/**
 * Records that are pruned before other work of the thread gets its turn: some 0.07 ms. A turn of the event loop answers
 * at most one request per connection; where a million entries expire at once, the shorter the turns are, the larger a
 * share of the thread requests that wait can take. The sum of the turns is the same.
 */
const PRUNED_PER_TURN = 128;
/** The same for a shard in which pruning is late, so that requests without end don't keep memory taken for ever. */
const PRUNED_PER_LATE_TURN = 512;
const LATE_AFTER_MS = 1000;
const HASH_RANGE = 2 ** 30;
/** Tells cursors from words that clients send by mistake, such as `null`, which are numbers too in this radix. */
const CURSOR_PREFIX = "p.";
const CURSOR_RADIX = 36;
const ALL: KeyPattern = { text: "*", matches: () => true };

/**
 * What walks over many entries: scans, deletes by pattern, clear, and the pruning of what has expired.
 *
 * A walk goes through the shards and in each through the hashes in order. Since the index is sorted by hash, a position
 * is a shard and a hash, and stays good whatever is put in, removed, moved or grown between two steps.
 */
export class Sweeper {
  private readonly control: Int32Array;
  /** Where the walk under way stands: everything with a smaller hash in the shard was seen. */
  private shardNumber = 0;
  private hash = 0;
  /** The shard at which pruning goes on. */
  private pruneNext = 0;

  constructor(
    private readonly arena: Arena,
    private readonly index: IndexTable,
    private readonly log: RecordLog,
    private readonly store: ShardStore,
    private readonly wheel: ExpiryWheel,
    private readonly ghosts: GhostTable,
    private readonly counters: Float64Array,
    private readonly clock: () => number,
    private readonly letOthersRun: () => Promise<void>,
  ) {
    this.control = arena.control;
  }

  scan(request: ScanRequest): ScanPage {
    this.resume(request.cursor);
    const pattern = request.pattern ?? ALL;
    const nowMs = this.clock();
    const keys: string[] = [];
    let cost = 0;
    while (keys.length < request.limit && cost < COST_PER_PAGE) {
      if (this.shardNumber === this.arena.geometry.shardCount) return { keys, cursor: null };
      cost += this.step((location) => {
        if (this.store.isTombstone(location) || this.store.isExpired(location, nowMs)) return false;
        if (this.matches(location, pattern)) keys.push(this.keyText(location));
        return false;
      }, request.limit - keys.length);
    }
    return { keys, cursor: this.position() };
  }

  async deleteMatching(pattern: KeyPattern, stamp: Stamp): Promise<number> {
    let deleted = 0;
    let cost = 0;
    this.shardNumber = 0;
    this.hash = 0;
    const remove = (location: number): boolean => {
      if (this.store.isTombstone(location) || this.stays(location, stamp) || !this.matches(location, pattern))
        return false;
      if (!this.store.isExpired(location, this.clock())) deleted++;
      return true;
    };
    while (this.shardNumber < this.arena.geometry.shardCount) {
      cost += this.step(remove, COST_PER_LOCK);
      if (cost < COST_PER_TURN) continue;
      cost = 0;
      const { shardNumber, hash } = this;
      await this.letOthersRun();
      this.shardNumber = shardNumber;
      this.hash = hash;
    }
    this.counters[COUNT_DELETES]! += deleted;
    return deleted;
  }

  /** In constant time, unless something as new as the stamp's version was stored; then in time linear in that shard's entries. */
  clear(stamp: Stamp): number {
    let deleted = 0;
    for (let number = 0; number < this.arena.geometry.shardCount; number++) {
      const shard = this.arena.shard(number);
      lockMutex(this.control, shard + SHARD_LOCK);
      try {
        this.store.raiseFloor(shard, stamp.version, stamp.origin);
        if (this.newest(shard) < stamp.version) deleted += this.forgetShard(shard);
        else deleted += this.removeOlder(shard, stamp);
      } finally {
        unlockMutex(this.control, shard + SHARD_LOCK);
      }
    }
    this.counters[COUNT_DELETES]! += deleted;
    return deleted;
  }

  entries(shard: number): number {
    return this.store.entries(shard);
  }

  /** Removes what has expired, up to a bound. True = all that was due is gone. */
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
    lockMutex(this.control, shard + SHARD_LOCK);
    try {
      while (steps < PRUNED_PER_LOCK) {
        const location = this.wheel.nextDue(shard, nowMs, PRUNED_PER_LOCK);
        if (location === 0) break;
        if (location === -1) return PRUNED_PER_LOCK;
        steps++;
        if (!this.store.isTombstone(location)) this.counters[COUNT_EXPIRATIONS]!++;
        this.store.forget(shard, this.store.slotOf(shard, location), location);
      }
    } finally {
      unlockMutex(this.control, shard + SHARD_LOCK);
    }
    return steps;
  }

  /**
   * Looks at some slots from the position on, under the shard's lock, and moves the position. `visit` says whether to
   * remove the record. Ends after `limit` visits, but never between two records of the same hash.
   * Gives what it cost.
   */
  private step(visit: (location: number) => boolean, limit: number): number {
    const shard = this.arena.shard(this.shardNumber);
    const mostVisits = Math.min(limit, COST_PER_LOCK);
    lockMutex(this.control, shard + SHARD_LOCK);
    try {
      const slotCount = this.index.slotCount(shard);
      const pageTable = this.arena.indexPageTable(shard);
      let empty = 0;
      let visits = 0;
      let lastHash = -1;
      for (let slot = this.index.home(this.hash, slotCount); slot < slotCount; ) {
        const at = this.index.slotAt(pageTable, slot);
        const words = this.arena.words[at >>> BUFFER_UNIT_SHIFT]!;
        const word = (at & BUFFER_UNIT_MASK) << 1;
        const location = words[word + SLOT_LOCATION]!;
        const hash = words[word]! >>> 2;
        if (location === 0 || hash < this.hash) {
          slot++;
          empty++;
          continue;
        }
        if (hash !== lastHash && visits >= mostVisits) {
          this.hash = hash;
          return visits + empty / EMPTY_SLOTS_PER_RECORD;
        }
        lastHash = hash;
        visits++;
        // Also where a newer mutation asks for it: a touch may have given the record a version that is newer still.
        if (visit(location)) this.store.forget(shard, slot, location);
        else slot++;
      }
      this.shardNumber++;
      this.hash = 0;
      return visits + empty / EMPTY_SLOTS_PER_RECORD;
    } finally {
      unlockMutex(this.control, shard + SHARD_LOCK);
    }
  }

  private position(): string | null {
    if (this.shardNumber === this.arena.geometry.shardCount) return null;
    return formatCursor(this.shardNumber * HASH_RANGE + this.hash);
  }

  private resume(cursor: string | null): void {
    const position = cursor === null ? 0 : Number.parseInt(cursor.slice(CURSOR_PREFIX.length), CURSOR_RADIX);
    const valid = cursor === null || (position >= 0 && formatCursor(position) === cursor);
    if (!valid || position >= this.arena.geometry.shardCount * HASH_RANGE) throw new InvalidCursorError(cursor ?? "");
    this.shardNumber = Math.floor(position / HASH_RANGE);
    this.hash = position % HASH_RANGE;
  }

  private forgetShard(shard: number): number {
    const entries = this.store.entries(shard);
    this.index.clear(shard);
    this.control[shard + SHARD_TOMBSTONES] = 0;
    this.wheel.clear(shard);
    this.ghosts.clear(shard);
    this.log.clear(shard);
    return entries;
  }

  private removeOlder(shard: number, stamp: Stamp): number {
    let removed = 0;
    const slotCount = this.index.slotCount(shard);
    for (let slot = 0; slot < slotCount; ) {
      const location = this.store.locationAt(shard, slot);
      if (location === 0 || this.stays(location, stamp)) {
        slot++;
        continue;
      }
      if (!this.store.isTombstone(location)) removed++;
      this.store.forget(shard, slot, location);
    }
    return removed;
  }

  private newest(shard: number): number {
    return this.control[shard + SHARD_NEWEST_HI]! * 2 ** 32 + (this.control[shard + SHARD_NEWEST_LO]! >>> 0);
  }

  private isNewer(location: number, stamp: Stamp): boolean {
    const words = this.arena.wordsAt(location);
    const word = this.arena.wordIndex(location);
    const version = versionOf(words, word);
    return version > stamp.version || (version === stamp.version && originOf(words, word) > stamp.origin);
  }

  /** A value that was there when the call came must go, also where a touch has given it a newer version since. */
  private stays(location: number, stamp: Stamp): boolean {
    return this.isNewer(location, stamp) && !this.isTouched(location);
  }

  private isTouched(location: number): boolean {
    return (this.arena.wordsAt(location)[this.arena.wordIndex(location) + RECORD_META]! & FLAG_TOUCHED) !== 0;
  }

  private matches(location: number, pattern: KeyPattern): boolean {
    const word = this.arena.wordIndex(location);
    const meta = this.arena.wordsAt(location)[word + RECORD_META]!;
    const start = (word << 2) + keyOffset(meta);
    return pattern.matches(this.arena.bytesAt(location), start, start + (meta & KEY_LENGTH_MASK));
  }

  private keyText(location: number): string {
    const word = this.arena.wordIndex(location);
    const meta = this.arena.wordsAt(location)[word + RECORD_META]!;
    const start = (word << 2) + keyOffset(meta);
    return this.arena.bytesAt(location).toString("utf8", start, start + (meta & KEY_LENGTH_MASK));
  }
}

function formatCursor(position: number): string {
  return CURSOR_PREFIX + position.toString(CURSOR_RADIX);
}
