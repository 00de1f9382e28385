import type {
  Condition,
  DeleteOutcome,
  Engine,
  EngineHealth,
  EngineStats,
  EntrySink,
  IncrementOutcome,
  LateReader,
  PutOutcome,
  ScanPage,
  ScanRequest,
  TouchOutcome,
} from "../engine/engine.ts";
import type { Completion } from "../model/completion.ts";
import { type Attributes, NEVER } from "../model/entry.ts";
import type { HybridClock } from "../model/hybrid-clock.ts";
import { copyKey, type Key } from "../model/key.ts";
import type { KeyPattern } from "../model/matcher.ts";
import type { Stamp } from "../model/stamp.ts";
import type { Awaitable } from "../runtime/awaitable.ts";

/** The TTL of a write that names none: the default one. */
export const DEFAULT_TTL = -1;

/** Steps of the engine's scan that one call for keys makes at most. */
const MOST_SCANS = 64;

/** Stamps that a mutation of which nothing is recorded takes before it gives way to newer ones; reached only where a stamp from ahead is stored. */
export const MOST_STAMPS = 100;

/** Where a mutation comes from. */
export interface MutationContext {
  /** A peer of the original's kind sent it on: it goes neither to the backend nor to peers. */
  readonly isReplicated: boolean;
  /** W3C trace context of the request. */
  readonly traceContext?: string | undefined;
}

/** Of a client that says nothing about it. */
export const FROM_CLIENT: MutationContext = { isReplicated: false };

/** How a value came that was loaded. */
export interface LoadState {
  /** The backend can't say now: this is what it said before, and its TTL is over. */
  readonly isStale: boolean;
  /** The cache has it now. */
  readonly isStored: boolean;
  /** Another request had asked for it already. */
  readonly isCollapsed: boolean;
}

/** Where a value goes that was loaded. */
export interface LoadSink extends EntrySink {
  /** Called before `begin`. */
  markLoaded(state: LoadState): void;
}

export interface CacheOptions {
  readonly engine: Engine;
  /** Stamps mutations; shared by the threads of the node. */
  readonly versions: HybridClock;
  /** Ms since the Unix epoch. */
  readonly nowMs: () => number;
  /** TTL of writes that name none, in ms; null = they never expire. */
  readonly defaultTtlMs: number | null;
  /** The id of this node; 0 where it has neither peers nor a backend. */
  readonly nodeId: number;
}

/** A value to be stored: `source[start .. end)`, which must stay as it is until the put is answered. */
export interface NewValue {
  readonly source: Buffer;
  readonly start: number;
  readonly end: number;
  readonly attributes: Attributes;
}

/**
 * The use cases: what clients can ask of the cache, whatever engine is below and whatever protocol above.
 *
 * TTLs are in ms; 0 = never expires, `DEFAULT_TTL` = as the node is configured. Where the engine answers at once, so do
 * all calls but `deleteMatching` and `clear`.
 *
 * Another thread's mutation may take a newer stamp and still come first. The client of ours must not be told that it is
 * done when nothing was. So a mutation that is superseded is stamped anew: the two ran at the same time, and either may be
 * the later one. A touch has no stamp here: it changes the expiry of what it finds, and nothing else.
 */
export class Cache {
  /** Whether a `load` may find what `get` did not. */
  readonly loads: boolean = false;
  protected readonly engine: Engine;
  private readonly versions: HybridClock;
  protected readonly nowMs: () => number;
  private readonly defaultTtlMs: number;
  private readonly nodeId: number;

  constructor(options: CacheOptions) {
    this.engine = options.engine;
    this.versions = options.versions;
    this.nowMs = options.nowMs;
    this.defaultTtlMs = options.defaultTtlMs ?? 0;
    this.nodeId = options.nodeId;
  }

  get engineName(): string {
    return this.engine.name;
  }

  /** Reads answer without a promise. */
  get readsAtOnce(): boolean {
    return this.engine.answersAtOnce;
  }

  /** Mutations of one key do, too, but puts of `LARGE_VALUE_BYTES` or more. */
  get writesAtOnce(): boolean {
    return this.engine.answersAtOnce;
  }

  /** Hands a live entry to the sink; false = there is none. */
  get(key: Key, sink: EntrySink): Awaitable<boolean> {
    return this.engine.get(key, sink);
  }

  /** As `get`, for engines that answer later: see `Engine.getLater`. */
  getLater(key: Key, reader: LateReader): boolean {
    return this.engine.getLater?.(key, reader) ?? false;
  }

  /** Gets of the first `count` keys will follow. */
  expectGets(keys: readonly Key[], count: number): void {
    this.engine.expectGets?.(keys, count);
  }

  /** Hands what is behind the cache to the sink, when `get` found nothing; false = there is nothing there either. */
  load(_key: Key, _sink: LoadSink, _traceparent?: string): Promise<boolean> {
    return Promise.resolve(false);
  }

  put(
    key: Key,
    value: NewValue,
    ttlMs: number,
    condition: Condition | null,
    _context: MutationContext = FROM_CLIENT,
  ): Awaitable<PutOutcome> {
    const { source, start, end, attributes } = value;
    const making = this.engine.makeRoom?.(end - start) ?? null;
    if (making !== null) return this.putWhenRoomy(making, key, value, ttlMs, condition);
    const expiresAtMs = this.expiryOf(ttlMs);
    for (let stamps = 1; ; stamps++) {
      const stamp = this.stamp();
      const outcome = this.engine.put({ key, source, start, end, attributes, expiresAtMs, stamp, condition });
      if (outcome !== "superseded" || stamps === MOST_STAMPS) return outcome;
    }
  }

  /** A large value needs much room. Its bytes stay as they are until the put is answered; the key's may not. */
  private putWhenRoomy(
    making: Promise<void>,
    key: Key,
    value: NewValue,
    ttlMs: number,
    condition: Condition | null,
  ): Promise<PutOutcome> {
    const own = copyKey(key);
    return making.then(() => this.put(own, value, ttlMs, condition));
  }

  /**
   * As `put` without a condition, and without a promise where it has to wait: null = the completion is told later; undefined =
   * not in this way, ask `put`.
   */
  putLater(
    _key: Key,
    _value: NewValue,
    _ttlMs: number,
    _context: MutationContext,
    _completion: Completion<PutOutcome>,
  ): PutOutcome | null | undefined {
    return undefined;
  }

  delete(key: Key, condition: Condition | null, _context: MutationContext = FROM_CLIENT): Awaitable<DeleteOutcome> {
    for (let stamps = 1; ; stamps++) {
      const outcome = this.engine.delete({ key, stamp: this.stamp(), condition, tombstoneUntilMs: NEVER });
      if (outcome !== "superseded" || stamps === MOST_STAMPS) return outcome;
    }
  }

  /**
   * A peer of the original's kind says that an entry has changed, after the put or the delete itself. Two of them repeat it to
   * each other without end, so it never takes the only copy of a value.
   */
  async gossipInvalidate(_key: Key): Promise<void> {}

  touch(
    key: Key,
    ttlMs: number,
    condition: Condition | null,
    _context: MutationContext = FROM_CLIENT,
  ): Awaitable<TouchOutcome> {
    return this.engine.touch({ key, expiresAtMs: this.expiryOf(ttlMs), seen: null, condition });
  }

  /** Adds to a counter; an absent one counts from 0 and gets the default TTL. */
  increment(
    key: Key,
    delta: number,
    condition: Condition | null,
    _context: MutationContext = FROM_CLIENT,
  ): Awaitable<IncrementOutcome> {
    const expiresAtMsIfNew = this.expiryOf(DEFAULT_TTL);
    for (let stamps = 1; ; stamps++) {
      const outcome = this.engine.increment({ key, delta, expiresAtMsIfNew, stamp: this.stamp(), condition });
      if (outcome instanceof Promise || outcome.kind !== "superseded" || stamps === MOST_STAMPS) return outcome;
    }
  }

  /** Removes what matches and was there when the call came; gives how many entries that were. */
  deleteMatching(pattern: KeyPattern, _context: MutationContext = FROM_CLIENT): Promise<number> {
    return this.engine.deleteMatching(pattern, this.stamp());
  }

  /** Removes everything that was there when the call came; gives how many entries that were. */
  clear(_context: MutationContext = FROM_CLIENT): Promise<number> {
    return this.engine.clear(this.stamp());
  }

  /**
   * Keys, up to `request.limit` of them, and where to go on. A page may have fewer where few keys match: a call looks at
   * a bounded number of entries, and lets other work run in between.
   */
  keys(request: ScanRequest): Awaitable<ScanPage> {
    const first = this.engine.scan(request);
    if (first instanceof Promise) return first.then((page) => this.moreKeys(request, page));
    return first.cursor === null || first.keys.length >= request.limit ? first : this.moreKeys(request, first);
  }

  stats(): Awaitable<EngineStats> {
    return this.engine.stats();
  }

  health(): EngineHealth {
    return this.engine.health();
  }

  private async moreKeys(request: ScanRequest, first: ScanPage): Promise<ScanPage> {
    const keys = [...first.keys];
    let { cursor } = first;
    for (let scans = 1; scans < MOST_SCANS && cursor !== null && keys.length < request.limit; scans++) {
      await new Promise((resolve) => setImmediate(resolve));
      const page = await this.engine.scan({ ...request, cursor, limit: request.limit - keys.length });
      keys.push(...page.keys);
      cursor = page.cursor;
    }
    return { keys, cursor };
  }

  protected stamp(): Stamp {
    return { version: this.versions.next(), nodeId: this.nodeId };
  }

  protected expiryOf(ttlMs: number): number {
    const wanted = ttlMs === DEFAULT_TTL ? this.defaultTtlMs : ttlMs;
    return wanted === 0 ? NEVER : this.nowMs() + wanted;
  }
}
