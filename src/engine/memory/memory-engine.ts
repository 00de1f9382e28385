import type { Key } from "../../model/key.ts";
import type { KeyPattern } from "../../model/matcher.ts";
import type { Stamp } from "../../model/stamp.ts";
import {
  type DeleteOutcome,
  type DeleteRequest,
  type Engine,
  type EngineHealth,
  type EngineStats,
  type EntrySink,
  type IncrementOutcome,
  type IncrementRequest,
  LARGE_VALUE_BYTES,
  type PutOutcome,
  type PutRequest,
  type ScanPage,
  type ScanRequest,
  type TouchOutcome,
  type TouchRequest,
} from "../engine.ts";
import { Arena, allocateMemory, type MemoryHandle, type MemoryViews } from "./arena.ts";
import { Eviction } from "./eviction.ts";
import { ExpiryWheel, TICK_MS } from "./expiry-wheel.ts";
import { GhostTable } from "./ghost-table.ts";
import { HalfSipHash } from "./half-sip-hash.ts";
import { IndexTable } from "./index-table.ts";
import {
  CHAIN_LIVE_UNITS,
  COUNT_DELETES,
  COUNT_EVICTIONS,
  COUNT_EXPIRATIONS,
  COUNT_HITS,
  COUNT_MAIN_EVICTIONS,
  COUNT_MISSES,
  COUNT_SETS,
  EPOCH_HI,
  EPOCH_LO,
  HASH_KEY_0,
  HASH_KEY_1,
  SHARD_DELETED,
  SHARD_GHOST_PAGES,
  SHARD_INDEX_PAGES,
  SHARD_MAIN,
  SHARD_SMALL,
  UNIT_BYTES,
} from "./layout.ts";
import type { EngineBrokenError } from "./mutex.ts";
import { Prefetch } from "./prefetch.ts";
import { Pruner } from "./pruner.ts";
import { Reader } from "./reader.ts";
import { Reclaimer } from "./reclaimer.ts";
import { RecordLog } from "./record-log.ts";
import { RecordWriter } from "./record-writer.ts";
import { SegmentPool } from "./segment-pool.ts";
import { ShardStore } from "./shard-store.ts";
import { Sweeper } from "./sweeper.ts";
import { Tombstones } from "./tombstones.ts";
import { Writer } from "./writer.ts";

export type { MemoryHandle } from "./arena.ts";

export interface MemoryEngineOptions {
  /** Limit of the engine's memory in bytes, including index and headers. */
  readonly limitBytes: number;
  /** Number of threads that will use the memory, including this one. */
  readonly threads: number;
  /** Ms since the Unix epoch. */
  readonly clock: () => number;
  /**
   * Whether a put is also refused if it is older than an entry that is gone: evicted, expired, or a tombstone that has
   * ended. Needed if mutations can arrive late. Default: false.
   */
  readonly versioned?: boolean;
  /** Returns a random 32-bit number for the key of the hash function; default: the system's secure source. */
  readonly randomWord?: () => number;
  /** Resolves after other work of this thread has run; default: after one round of the event loop. */
  readonly letOthersRun?: () => Promise<void>;
  /** Default: plain views of the shared buffers. */
  readonly views?: MemoryViews;
  /** Called when the memory is found broken, in addition to the call's error; by default the thread ends. */
  readonly onBroken?: (error: EngineBrokenError) => void;
}

/** The options of a thread that can't be shared. */
export type MemoryEngineThread = Pick<MemoryEngineOptions, "clock" | "letOthersRun" | "views" | "onBroken">;

/**
 * The memory engine: entries in shared memory, off the heap. All threads see one cache, and the garbage collector never
 * visits the entries. Reads take no lock; writes lock one shard. See `layout.ts` for the bytes, `record-log.ts` and
 * `eviction.ts` for the storage of records and their eviction.
 */
export class MemoryEngine implements Engine {
  readonly name = "memory";
  readonly answersAtOnce = true;
  readonly refusesForgotten: boolean;
  private readonly arena: Arena;
  private readonly reader: Reader;
  private readonly prefetch: Prefetch;
  private readonly writer: Writer;
  private readonly sweeper: Sweeper;
  private readonly pruner: Pruner;
  private readonly room: Reclaimer;
  private readonly records: RecordWriter;
  private readonly clock: () => number;
  private readonly letOthersRun: () => Promise<void>;
  private readonly startedMs: number;

  /** Allocates the shared memory, as thread 0. Throws `MemoryLimitError`. */
  static create(options: MemoryEngineOptions): MemoryEngine {
    const handle = allocateMemory(
      options.limitBytes,
      options.threads,
      options.clock(),
      options.randomWord ?? secureWord,
      options.versioned ?? false,
    );
    return new MemoryEngine(handle, 0, options);
  }

  /** Attaches to the memory that another thread allocated. `thread` is this thread's number, below `threads`. */
  static attach(handle: MemoryHandle, thread: number, options: MemoryEngineThread): MemoryEngine {
    return new MemoryEngine(handle, thread, options);
  }

  private constructor(
    /** Passed to other threads, for `attach`. */
    readonly handle: MemoryHandle,
    thread: number,
    options: MemoryEngineThread,
  ) {
    const { clock } = options;
    this.clock = clock;
    this.letOthersRun = options.letOthersRun ?? nextRound;
    const arena = new Arena(handle, { views: options.views, thread, onBroken: options.onBroken });
    const { control } = arena;
    const epochMs = control[EPOCH_HI]! * 2 ** 32 + (control[EPOCH_LO]! >>> 0);
    const hasher = new HalfSipHash(control[HASH_KEY_0]!, control[HASH_KEY_1]!);
    const counters = arena.counters(thread);
    const pool = new SegmentPool(arena);
    const index = new IndexTable(arena, pool);
    const log = new RecordLog(arena, pool);
    const wheel = new ExpiryWheel(arena, epochMs);
    const ghosts = new GhostTable(arena, pool);
    // A separate hasher, because eviction runs in the middle of a write, which still needs the digest of its own key.
    const storeHasher = new HalfSipHash(control[HASH_KEY_0]!, control[HASH_KEY_1]!);
    const store = new ShardStore(arena, index, log, wheel, storeHasher);
    const eviction = new Eviction(arena, pool, store, log, ghosts, storeHasher, counters);
    this.room = new Reclaimer(arena, pool, eviction);
    this.arena = arena;
    this.refusesForgotten = arena.forgotten.isEnabled;
    this.reader = new Reader(arena, index, store, hasher, counters, clock);
    this.prefetch = new Prefetch(arena, index, hasher);
    this.records = new RecordWriter(arena, pool, index, log, store, ghosts, hasher, counters);
    this.writer = new Writer(
      arena,
      store,
      this.records,
      this.room,
      new Tombstones(arena, store, log),
      hasher,
      counters,
      clock,
    );
    this.pruner = new Pruner(arena, store, wheel, counters, clock);
    this.sweeper = new Sweeper(arena, index, log, store, wheel, ghosts, counters, clock, this.letOthersRun);
    this.startedMs = clock();
  }

  get(key: Key, sink: EntrySink): boolean {
    return this.reader.get(key, sink);
  }

  peek(key: Key, sink: EntrySink): boolean {
    return this.reader.peek(key, sink);
  }

  stampOf(key: Key): Stamp | null {
    return this.writer.stampOf(key);
  }

  expectGets(keys: readonly Key[], count: number): void {
    this.prefetch.keys(keys, count);
  }

  fits(keyLength: number, value: Pick<PutRequest, "start" | "end" | "attributes">): boolean {
    return this.writer.fits(keyLength, value);
  }

  makeRoom(valueBytes: number): Promise<void> | null {
    if (valueBytes < LARGE_VALUE_BYTES || !this.records.couldStore(valueBytes)) return null;
    const segments = this.room.segmentsFor(valueBytes);
    return this.room.has(segments) || !this.room.canMake() ? null : this.makeRoomInTurns(segments);
  }

  put(request: PutRequest): PutOutcome {
    return this.writer.put(request);
  }

  delete(request: DeleteRequest): DeleteOutcome {
    return this.writer.delete(request);
  }

  touch(request: TouchRequest): TouchOutcome {
    return this.writer.touch(request);
  }

  increment(request: IncrementRequest): IncrementOutcome {
    return this.writer.increment(request);
  }

  scan(request: ScanRequest): ScanPage {
    return this.sweeper.scan(request);
  }

  deleteMatching(pattern: KeyPattern, stamp: Stamp): Promise<number> {
    return this.sweeper.deleteMatching(pattern, stamp);
  }

  clear(stamp: Stamp): Promise<number> {
    return this.sweeper.clear(stamp);
  }

  stats(): EngineStats {
    const { geometry, control } = this.arena;
    let entries = 0;
    let liveUnits = 0;
    let pages = 0;
    for (let number = 0; number < geometry.shardCount; number++) {
      const shard = this.arena.shard(number);
      entries += this.sweeper.entries(shard);
      for (const queue of [SHARD_SMALL, SHARD_MAIN, SHARD_DELETED]) {
        liveUnits += control[shard + queue + CHAIN_LIVE_UNITS]!;
      }
      pages += control[shard + SHARD_INDEX_PAGES]! + control[shard + SHARD_GHOST_PAGES]!;
    }
    const evictions = this.total(COUNT_EVICTIONS);
    const cold = this.total(COUNT_MAIN_EVICTIONS);
    return {
      entries,
      usedBytes: geometry.controlBytes + geometry.counterBytes + pages * geometry.segmentBytes + liveUnits * UNIT_BYTES,
      limitBytes: geometry.limitBytes,
      hits: this.total(COUNT_HITS),
      misses: this.total(COUNT_MISSES),
      sets: this.total(COUNT_SETS),
      deletes: this.total(COUNT_DELETES),
      evictions,
      evictionsByReason: { unused: Math.max(0, evictions - cold), cold },
      expirations: this.total(COUNT_EXPIRATIONS),
    };
  }

  health(): EngineHealth {
    return { status: "ok", detail: "", sinceMs: this.startedMs };
  }

  /** Removes expired entries. Returns 0 when there is more to do at once. */
  maintain(): number {
    return this.pruner.prune() ? TICK_MS : 0;
  }

  async close(): Promise<void> {}

  private async makeRoomInTurns(segments: number): Promise<void> {
    while (!this.room.makeSome(segments, this.clock())) await this.letOthersRun();
  }

  private total(counter: number): number {
    let sum = 0;
    for (let thread = 0; thread < this.arena.geometry.threads; thread++) sum += this.arena.counters(thread)[counter]!;
    return sum;
  }
}

function secureWord(): number {
  return crypto.getRandomValues(new Int32Array(1))[0]!;
}

function nextRound(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
