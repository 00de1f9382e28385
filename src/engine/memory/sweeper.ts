import type { KeyPattern } from "../../model/matcher.ts";
import type { Stamp } from "../../model/stamp.ts";
import { InvalidCursorError, type ScanPage, type ScanRequest } from "../engine.ts";
import type { Arena } from "./arena.ts";
import type { ExpiryWheel } from "./expiry-wheel.ts";
import type { GhostTable } from "./ghost-table.ts";
import type { IndexTable } from "./index-table.ts";
import {
  BUFFER_UNIT_MASK,
  BUFFER_UNIT_SHIFT,
  COUNT_DELETES,
  FLAG_COUNTED,
  KEY_LENGTH_MASK,
  RECORD_META,
  SHARD_LOCK,
  SHARD_NEWEST_HI,
  SHARD_NEWEST_LO,
  SHARD_TOMBSTONES,
  SLOT_LOCATION,
} from "./layout.ts";
import { keyOffset, nodeIdOf, versionOf } from "./record.ts";
import type { RecordLog } from "./record-log.ts";
import type { ShardStore } from "./shard-store.ts";

/** The cost of a step is counted in records; this many empty slots cost as much as one record. */
const EMPTY_SLOTS_PER_RECORD = 32;
/** Cost of the work done while a shard's lock is held: some 12 µs. */
const COST_PER_LOCK = 64;
const EMPTY_SLOTS_PER_LOCK = COST_PER_LOCK * EMPTY_SLOTS_PER_RECORD;
/** Cost of clearing a whole shard, whatever it contains. */
const COST_OF_SHARD = 64;
/**
 * Cost after which other work of the thread runs: some 25 µs. A request that arrives during a turn is answered after
 * it, so shorter turns shorten the wait of every request, but add rounds of the event loop to the walk; the cost of
 * such a round was not measured.
 */
const COST_PER_TURN = 128;
/** The most cost of one page of a scan: one or two milliseconds. */
const COST_PER_PAGE = 4096;
const HASH_RANGE = 2 ** 30;
/**
 * Distinguishes cursors from words that clients send by mistake, such as `null`, which are also numbers in this radix.
 */
const CURSOR_PREFIX = "p.";
const CURSOR_RADIX = 36;
const ALL: KeyPattern = { text: "*", matches: () => true };

/**
 * Walks over many entries: scans, deletes by pattern, clear.
 *
 * A walk visits the shards, and in each the hashes, in order. The index is sorted by hash, so a position is a shard and
 * a hash, and stays valid whatever is inserted, removed, moved or grown between two steps.
 */
export class Sweeper {
  private readonly control: Int32Array;
  /** The position of the current walk: all smaller hashes of the shard were visited. */
  private shardNumber = 0;
  private hash = 0;

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
    const turns = new Turns(this.letOthersRun);
    let deleted = 0;
    const remove = (location: number): boolean => {
      if (this.store.isTombstone(location) || this.stays(location, stamp) || !this.matches(location, pattern))
        return false;
      if (!this.store.isExpired(location, this.clock())) deleted++;
      return true;
    };
    for (let number = 0; number < this.arena.geometry.shardCount; number++) {
      await this.walkShard(number, remove, turns);
    }
    this.counters[COUNT_DELETES]! += deleted;
    return deleted;
  }

  /**
   * Removes every entry that is not newer than the stamp: a whole shard at once if it contains nothing newer, otherwise
   * entry by entry. All shards refuse older mutations before the first one is cleared.
   */
  async clear(stamp: Stamp): Promise<number> {
    const turns = new Turns(this.letOthersRun);
    let deleted = 0;
    const remove = (location: number): boolean => {
      if (this.stays(location, stamp)) return false;
      if (!this.store.isTombstone(location)) deleted++;
      return true;
    };
    const { shardCount } = this.arena.geometry;
    for (let number = 0; number < shardCount; number++) this.raiseFloor(this.arena.shard(number), stamp);
    for (let number = 0; number < shardCount; number++) {
      const gone = this.forgetShard(this.arena.shard(number), stamp);
      if (gone === null) await this.walkShard(number, remove, turns);
      else {
        deleted += gone;
        if (turns.spend(COST_OF_SHARD)) await turns.next();
      }
    }
    this.counters[COUNT_DELETES]! += deleted;
    return deleted;
  }

  /** Walks through a shard in turns; `remove` decides for each record. */
  private async walkShard(number: number, remove: (location: number) => boolean, turns: Turns): Promise<void> {
    let hash = 0;
    for (;;) {
      this.shardNumber = number;
      this.hash = hash;
      const cost = this.step(remove, COST_PER_LOCK);
      if (this.shardNumber !== number) return;
      // Other walks use the position between two turns.
      hash = this.hash;
      if (turns.spend(cost)) await turns.next();
    }
  }

  entries(shard: number): number {
    return this.store.entries(shard);
  }

  /**
   * Visits some slots from the position on, under the shard's lock, and advances the position. `visit` decides whether
   * to remove the record. Ends after `limit` visits or many empty slots, but never between two records of the same
   * hash. Returns the cost.
   */
  private step(visit: (location: number) => boolean, limit: number): number {
    const shard = this.arena.shard(this.shardNumber);
    const mostVisits = Math.min(limit, COST_PER_LOCK);
    this.arena.locks.lock(shard + SHARD_LOCK);
    try {
      const slotCount = this.index.slotCount(shard);
      const pageTable = this.arena.indexPageTable(shard);
      const lastHome = this.index.home(HASH_RANGE - 1, slotCount);
      let empty = 0;
      let visits = 0;
      let lastHash = -1;
      for (let slot = this.index.home(this.hash, slotCount); slot < slotCount; ) {
        const at = this.index.slotAt(pageTable, slot);
        const words = this.arena.words[at >>> BUFFER_UNIT_SHIFT]!;
        const word = (at & BUFFER_UNIT_MASK) << 1;
        const location = words[word + SLOT_LOCATION]!;
        const hash = words[word]! >>> 2;
        if (location === 0 && empty >= EMPTY_SLOTS_PER_LOCK && slot < lastHome) {
          this.hash = this.index.firstHash(slot + 1, slotCount);
          return visits + empty / EMPTY_SLOTS_PER_RECORD;
        }
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
        // Remembers the version even for a newer mutation, because a counter may have given the record a still newer
        // version.
        if (visit(location)) this.store.forget(shard, slot, location);
        else slot++;
      }
      this.shardNumber++;
      this.hash = 0;
      return visits + empty / EMPTY_SLOTS_PER_RECORD;
    } catch (error) {
      throw this.arena.locks.breakAt(shard + SHARD_LOCK, error);
    } finally {
      this.arena.locks.unlock(shard + SHARD_LOCK);
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

  private raiseFloor(shard: number, stamp: Stamp): void {
    this.arena.locks.lock(shard + SHARD_LOCK);
    try {
      this.store.raiseFloor(shard, stamp.version, stamp.nodeId);
    } catch (error) {
      throw this.arena.locks.breakAt(shard + SHARD_LOCK, error);
    } finally {
      this.arena.locks.unlock(shard + SHARD_LOCK);
    }
  }

  /** Clears a whole shard, and returns the number of its entries; null = a record is at least as new as the stamp. */
  private forgetShard(shard: number, stamp: Stamp): number | null {
    this.arena.locks.lock(shard + SHARD_LOCK);
    try {
      if (this.newest(shard) >= stamp.version) return null;
      const entries = this.store.entries(shard);
      this.index.clear(shard);
      this.control[shard + SHARD_TOMBSTONES] = 0;
      this.wheel.clear(shard);
      this.ghosts.clear(shard);
      this.log.clear(shard);
      return entries;
    } catch (error) {
      throw this.arena.locks.breakAt(shard + SHARD_LOCK, error);
    } finally {
      this.arena.locks.unlock(shard + SHARD_LOCK);
    }
  }

  private newest(shard: number): number {
    return this.control[shard + SHARD_NEWEST_HI]! * 2 ** 32 + (this.control[shard + SHARD_NEWEST_LO]! >>> 0);
  }

  private isNewer(location: number, stamp: Stamp): boolean {
    const words = this.arena.wordsAt(location);
    const word = this.arena.wordIndex(location);
    const version = versionOf(words, word);
    return version > stamp.version || (version === stamp.version && nodeIdOf(words, word) > stamp.nodeId);
  }

  /**
   * A value that was present when the call arrived must go, even if it was incremented and has a newer version since.
   */
  private stays(location: number, stamp: Stamp): boolean {
    return this.isNewer(location, stamp) && !this.isCounted(location);
  }

  private isCounted(location: number): boolean {
    return (this.arena.wordsAt(location)[this.arena.wordIndex(location) + RECORD_META]! & FLAG_COUNTED) !== 0;
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

/** Ends a turn when enough cost has accumulated. */
class Turns {
  private cost = 0;

  constructor(private readonly letOthersRun: () => Promise<void>) {}

  /** Whether other work should run now. */
  spend(cost: number): boolean {
    this.cost += cost;
    return this.cost >= COST_PER_TURN;
  }

  async next(): Promise<void> {
    this.cost = 0;
    await this.letOthersRun();
  }
}

function formatCursor(position: number): string {
  return CURSOR_PREFIX + position.toString(CURSOR_RADIX);
}
