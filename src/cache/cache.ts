/** The use cases: what clients can ask of the cache, whatever engine is below and whatever protocol above. */

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
  PutRequest,
  ScanPage,
  ScanRequest,
  TouchOutcome,
} from "../engine/engine.ts";
import { asAwaitable, type Completion, told } from "../model/completion.ts";
import { NEVER, valueWith } from "../model/entry.ts";
import type { HybridClock } from "../model/hybrid-clock.ts";
import { copyKey, type Key, nameOf } from "../model/key.ts";
import type { KeyPattern } from "../model/matcher.ts";
import type { Stamp } from "../model/stamp.ts";
import { type Awaitable, after } from "../runtime/awaitable.ts";
import type { BackingStore, LoadSink } from "./backing-store.ts";
import {
  ConditionalDelete,
  ConditionalPut,
  Delete,
  Increment,
  type NewValue,
  Put,
  Touch,
  tombstones,
} from "./changes.ts";
import type { CommitLog, LinkTraits } from "./commit-log.ts";
import type { KeyGate } from "./key-gate.ts";
import {
  type ApplyFirst,
  applyAlone,
  applyFirst,
  type CommitParts,
  FROM_CLIENT,
  invalidate,
  type MutationContext,
  stampedAnew,
} from "./pipeline.ts";
import { Reads } from "./reads.ts";
import type { RecentInvalidations } from "./recent-invalidations.ts";
import type { RecentPuts } from "./recent-puts.ts";
import { StampedWrites } from "./stamped-writes.ts";

/** The TTL of a write that names none: the default one. */
export const DEFAULT_TTL = -1;

/** Steps of the engine's scan that one call for keys makes at most. */
const MOST_SCANS = 64;

/** The original sends its message right after the put that it speaks of. */
const GOSSIP_MS = 2_000;

/** Every engine takes values of this size. */
const EVERYWHERE_FITS_BYTES = 16 * 1024;

/** What stands behind the cache of a node: a backend, peers, or both. */
export interface CacheLink {
  readonly traits: LinkTraits;
  readonly commitLog: CommitLog;
  /** Null = peers alone. */
  readonly backingStore: BackingStore | null;
  readonly invalidations: RecentInvalidations;
  readonly recentPuts: RecentPuts;
  readonly gate: KeyGate;
}

export interface CacheOptions {
  readonly engine: Engine;
  /** Stamps mutations; shared by the threads of the node. */
  readonly versions: HybridClock;
  /** Ms since the Unix epoch. */
  readonly nowMs: () => number;
  /** TTL of writes that name none, in ms; null = they never expire. */
  readonly defaultTtlMs: number | null;
  /** The id of this node; 0 where nothing is behind its cache. */
  readonly nodeId: number;
  /** Null = nothing is behind the cache. */
  readonly link: CacheLink | null;
}

/**
 * TTLs are in ms; 0 = never expires, `DEFAULT_TTL` = as the node is configured. With nothing behind the cache and an engine
 * that answers at once, so do all calls but `deleteMatching`, `clear`, and puts of `LARGE_VALUE_BYTES` or more.
 */
export class Cache {
  /** Whether a `load` may find what `get` did not. */
  readonly loads: boolean;
  readonly #engine: Engine;
  readonly #versions: HybridClock;
  readonly #nowMs: () => number;
  readonly #defaultTtlMs: number;
  readonly #nodeId: number;
  readonly #reads: Reads;
  readonly #writes: StampedWrites;
  readonly #tombstoneUntilMs: () => number;
  readonly #link: CacheLink | null;
  /** Null = nothing is behind the cache. */
  readonly #parts: CommitParts | null;
  readonly #nextStamp = (): Stamp => ({ version: this.#versions.next(), nodeId: this.#nodeId });

  constructor({ engine, versions, nowMs, defaultTtlMs, nodeId, link }: CacheOptions) {
    this.#engine = engine;
    this.#versions = versions;
    this.#nowMs = nowMs;
    this.#defaultTtlMs = defaultTtlMs ?? 0;
    this.#nodeId = nodeId;
    this.#link = link;
    this.loads = link !== null && link.backingStore !== null;
    const nextStamp = this.#nextStamp;
    const backingStore = link?.backingStore ?? null;
    const writes = new StampedWrites(engine, link?.invalidations ?? null, nextStamp);
    this.#writes = writes;
    this.#reads = new Reads(engine, link === null || backingStore === null ? null : { ...link, backingStore }, nowMs);
    this.#tombstoneUntilMs = tombstones(link?.traits.tombstoneMs ?? 0, nowMs);
    this.#parts = link === null ? null : { engine, writes, nextStamp, ...link };
  }

  get engineName(): string {
    return this.#engine.name;
  }

  /** Reads answer without a promise. */
  get readsAtOnce(): boolean {
    return this.#engine.answersAtOnce;
  }

  /** Mutations of one key do, too, but puts of `LARGE_VALUE_BYTES` or more. */
  get writesAtOnce(): boolean {
    return this.#parts === null && this.#engine.answersAtOnce;
  }

  /** Hands a live entry to the sink; false = there is none. */
  get(key: Key, sink: EntrySink): Awaitable<boolean> {
    return this.#parts === null ? this.#engine.get(key, sink) : this.#reads.get(key, sink);
  }

  /** As `get`, for engines that answer later: see `Engine.getLater`. */
  getLater(key: Key, reader: LateReader): boolean {
    return this.#reads.getLater(key, reader);
  }

  /** Gets of the first `count` keys will follow. */
  expectGets(keys: readonly Key[], count: number): void {
    this.#engine.expectGets?.(keys, count);
  }

  /** Hands what is behind the cache to the sink, when `get` found nothing; false = there is nothing there either. */
  load(key: Key, sink: LoadSink, traceContext?: string): Promise<boolean> {
    return this.#reads.load(key, sink, traceContext);
  }

  /** Null = the completion is told later. */
  put(
    key: Key,
    value: NewValue,
    ttlMs: number,
    condition: Condition | null,
    context: MutationContext,
    completion: Completion<PutOutcome>,
  ): PutOutcome | null {
    const expiresAtMs = this.#expiryOf(ttlMs);
    const parts = this.#parts;
    if (parts === null) return this.#putAlone(key, value, expiresAtMs, condition, completion);
    if (this.#isTooLarge(key, value)) return "too-large";
    this.#engine.requireReachable?.(key);
    // Before it is done: the message that follows must not come first, whichever thread it reaches.
    if (context.isReplicated) this.#link?.recentPuts.note(key, this.#nowMs());
    const { attributes } = value;
    const bytes = ownBytes(value);
    if (condition === null) {
      const place = parts.gate.placeOf(key);
      return new Put(parts, nameOf(key), place, valueWith(bytes, attributes), expiresAtMs, context, completion).begin();
    }
    const own = { source: bytes, start: 0, end: bytes.length, attributes };
    const put = new ConditionalPut(this.#writes, copyKey(key), own, expiresAtMs, condition, context);
    return told(this.#apply(put), completion);
  }

  /**
   * A peer of the original's kind says that an entry has changed, after the put or the delete itself. Two of them repeat it to
   * each other without end, so it never takes the only copy of a value.
   */
  async gossipInvalidate(key: Key): Promise<void> {
    if (!this.loads || this.#link?.recentPuts.has(key, this.#nowMs(), GOSSIP_MS) === true) return;
    await this.delete(key, null, { isReplicated: true });
  }

  delete(key: Key, condition: Condition | null, context: MutationContext = FROM_CLIENT): Awaitable<DeleteOutcome> {
    const parts = this.#parts;
    if (parts !== null) this.#engine.requireReachable?.(key);
    if (parts === null || condition !== null) {
      return this.#apply(
        new ConditionalDelete(this.#engine, this.#ownKey(key), condition, this.#tombstoneUntilMs, context),
      );
    }
    const place = parts.gate.placeOf(key);
    return asAwaitable((completion) =>
      new Delete(parts, nameOf(key), place, this.#tombstoneUntilMs, context, completion).begin(),
    );
  }

  /** Sets another expiry, and nothing else. */
  touch(
    key: Key,
    ttlMs: number,
    condition: Condition | null,
    context: MutationContext = FROM_CLIENT,
  ): Awaitable<TouchOutcome> {
    const touch = new Touch(this.#engine, this.#ownKey(key), this.#expiryOf(ttlMs), condition, context);
    return after(this.#apply(touch), (outcome) => (outcome === "superseded" ? "absent" : outcome));
  }

  /** Adds to a counter; an absent one counts from 0 and gets the default TTL. */
  increment(
    key: Key,
    delta: number,
    condition: Condition | null,
    context: MutationContext = FROM_CLIENT,
  ): Awaitable<IncrementOutcome> {
    const expiresAtMs = this.#expiryOf(DEFAULT_TTL);
    const own = this.#ownKey(key);
    return this.#apply(new Increment(this.#engine, own, delta, expiresAtMs, condition, this.#nowMs, context));
  }

  /** Removes what matches and was there when the call came; gives how many entries that were. */
  deleteMatching(pattern: KeyPattern, context: MutationContext = FROM_CLIENT): Promise<number> {
    if (this.#parts === null) return this.#engine.deleteMatching(pattern, this.#nextStamp());
    return invalidate(pattern, context, this.#parts, (request) => this.keys(request));
  }

  /** Removes everything that was there when the call came; gives how many entries that were. */
  clear(context: MutationContext = FROM_CLIENT): Promise<number> {
    if (this.#parts === null) return this.#engine.clear(this.#nextStamp());
    return invalidate(null, context, this.#parts, (request) => this.keys(request));
  }

  /**
   * Keys, up to `request.limit` of them, and where to go on. A page may have fewer where few keys match: a call looks at
   * a bounded number of entries, and lets other work run in between.
   */
  keys(request: ScanRequest): Awaitable<ScanPage> {
    const first = this.#engine.scan(request);
    if (first instanceof Promise) return first.then((page) => this.#moreKeys(request, page));
    return first.cursor === null || first.keys.length >= request.limit ? first : this.#moreKeys(request, first);
  }

  stats(): Awaitable<EngineStats> {
    return this.#engine.stats();
  }

  health(): EngineHealth {
    return this.#engine.health();
  }

  async #moreKeys(request: ScanRequest, first: ScanPage): Promise<ScanPage> {
    const keys = [...first.keys];
    let { cursor } = first;
    for (let scans = 1; scans < MOST_SCANS && cursor !== null && keys.length < request.limit; scans++) {
      await new Promise((resolve) => setImmediate(resolve));
      const page = await this.#engine.scan({ ...request, cursor, limit: request.limit - keys.length });
      keys.push(...page.keys);
      cursor = page.cursor;
    }
    return { keys, cursor };
  }

  /** With nothing behind the cache: no promise, no copy. */
  #putAlone(
    key: Key,
    { source, start, end, attributes }: NewValue,
    expiresAtMs: number,
    condition: Condition | null,
    completion: Completion<PutOutcome>,
  ): PutOutcome | null {
    const stamp = this.#nextStamp();
    const request = { key, source, start, end, attributes, expiresAtMs, stamp, condition };
    const outcome = this.#writes.put(request);
    if (outcome === "stored") return outcome;
    return told(this.#putAnew(outcome, request), completion);
  }

  /** The bytes of the value stay as they are until the put is answered; those of the key may not. */
  #putAnew(outcome: Awaitable<PutOutcome>, request: PutRequest): Awaitable<PutOutcome> {
    const own = { ...request, key: copyKey(request.key) };
    return stampedAnew(outcome, () => this.#writes.put({ ...own, stamp: this.#nextStamp() }));
  }

  #apply<T>(change: ApplyFirst<T>): Awaitable<T> {
    return this.#parts === null ? applyAlone(change, this.#nextStamp) : applyFirst(change, this.#parts, this.#reads);
  }

  /** Of a mutation that may be under way after its call has returned. */
  #ownKey(key: Key): Key {
    return this.writesAtOnce ? key : copyKey(key);
  }

  /** Asked before anything is committed: what the cache can't hold is refused, and goes nowhere. */
  #isTooLarge(key: Key, value: NewValue): boolean {
    return value.end - value.start > EVERYWHERE_FITS_BYTES && this.#engine.fits?.(key.length, value) === false;
  }

  #expiryOf(ttlMs: number): number {
    const wanted = ttlMs === DEFAULT_TTL ? this.#defaultTtlMs : ttlMs;
    return wanted === 0 ? NEVER : this.#nowMs() + wanted;
  }
}

/** The request's buffers are somebody else's when the call has returned. */
function ownBytes({ source, start, end }: NewValue): Buffer {
  const bytes = Buffer.allocUnsafe(end - start);
  source.copy(bytes, 0, start, end);
  return bytes;
}
