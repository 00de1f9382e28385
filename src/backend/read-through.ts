/**
 * Brings what the cache lacks from the backend.
 *
 * However many ask for a key, it is loaded once; keys that are asked for within one turn of the event loop go together.
 * A load that began before its key was written, deleted or cleared answers those who wait for it already, and nobody
 * else: it is not cached, and who asks after that gets a load of his own.
 */

import type { CacheValue } from "../model/entry.ts";
import type { Version } from "../model/stamp.ts";
import type { Awaitable } from "../runtime/awaitable.ts";
import type { Scheduler } from "../runtime/scheduler.ts";
import { type Backend, BackendError, type LoadResult } from "./backend.ts";
import { Breaker, type BreakerState } from "./breaker.ts";
import type { LoadRoom } from "./load-room.ts";
import { NegativeCache } from "./negative-cache.ts";

export interface ReadThroughOptions {
  readonly backend: Pick<Backend, "load" | "loadBatchKeys">;
  /** A load may take so long, waiting for its turn included, in ms. */
  readonly timeoutMs: number;
  /** Calls to the backend at the same time. */
  readonly concurrentCalls: number;
  /** Keys that may wait for their turn; more are refused at once. */
  readonly waitingKeys: number;
  /** TTL of what is loaded, in ms (`SERV_CACHE_FILL_TTL`); 0 = never expires. */
  readonly fillTtlMs: number;
  /** How long the absence of a key is remembered, in ms (`SERV_CACHE_NEGATIVE_TTL`); 0 = not at all. */
  readonly negativeTtlMs: number;
  readonly negativeKeys: number;
  readonly breaker: { readonly failures: number; readonly openMs: number; readonly openMaxMs: number };
  /** The stamp of a load that begins now. */
  readonly nextVersion: () => Version;
  readonly sink: FillSink;
  /** Room for what is loaded; null = not bounded. */
  readonly room: LoadRoom | null;
  /**
   * What the cache has of a key by now: another thread's load may have been over before this one's question came. Null =
   * nothing.
   */
  readonly look: (key: string) => Awaitable<Kept | null>;
  readonly scheduler: Scheduler;
  /** Runs after the requests of this turn of the event loop. */
  readonly defer: (run: () => void) => void;
  /** In [0, 1). */
  readonly random: () => number;
}

/** An entry of the cache. */
export interface Kept {
  readonly value: CacheValue;
  /** Absolute, in ms since the Unix epoch; 0 = never. */
  readonly expiresAtMs: number;
  readonly version: Version;
}

/** Where loads go. Called before those who wait get their answer. */
export interface FillSink {
  /**
   * To be put with the version of the moment at which the load began. `expiresAtMs` 0 = never. Never rejects; who waits
   * is answered when it settles.
   */
  fill(key: string, value: CacheValue, expiresAtMs: number, version: Version): Awaitable<void>;
  /** The backend did not have it at the moment of the version. */
  absent(key: string, version: Version): Awaitable<void>;
}

/** What a load gives to those who asked. */
export type FillResult = FoundResult | Exclude<LoadResult, { kind: "found" }>;

interface FoundResult extends Kept {
  readonly kind: "found";
  /** The cache has it. */
  readonly isStored: boolean;
  /** Another request had asked for it already. */
  readonly isCollapsed: boolean;
}

export interface ReadThroughStats {
  readonly loads: number;
  readonly calls: number;
  readonly found: number;
  readonly absent: number;
  readonly failed: number;
  /** Requests that joined a load that was under way. */
  readonly joined: number;
  readonly negativeHits: number;
  /** Loads that were not cached, because their key changed while they ran. */
  readonly discarded: number;
  readonly waiting: number;
  readonly breaker: BreakerState;
  /** What the backend failed with when it was asked last, and when, in ms; null = it did not fail. */
  readonly lastFailure: { readonly message: string; readonly atMs: number } | null;
}

interface Flight {
  readonly key: string;
  readonly sink: FillSink;
  readonly version: Version;
  readonly answer: PromiseWithResolvers<FillResult>;
  readonly deadlineMs: number;
  mayFill: boolean;
  readonly traceContext: string | undefined;
}

/** Expiries spread by this share to either side, so that what was loaded together does not expire together. */
const TTL_JITTER = 0.1;

const ROOM_PAUSE_MS = 5;

export class ReadThrough {
  readonly #breaker: Breaker;
  readonly #negative: NegativeCache;
  readonly #flights = new Map<string, Flight>();
  #waiting: Flight[] = [];
  /** Not yet answered, in the order of their deadlines. */
  readonly #unsettled = new Set<Flight>();
  #cancelTimer: (() => void) | null = null;
  #calls = 0;
  #isScheduled = false;
  #waitsForRoom = false;
  #lastFailure: ReadThroughStats["lastFailure"] = null;
  #counts = { loads: 0, calls: 0, found: 0, absent: 0, failed: 0, joined: 0, negativeHits: 0, discarded: 0 };

  constructor(private readonly options: ReadThroughOptions) {
    const { scheduler, negativeKeys, negativeTtlMs } = options;
    this.#breaker = new Breaker({ ...options.breaker, scheduler });
    this.#negative = new NegativeCache(negativeKeys, negativeTtlMs);
  }

  /** Never rejects: what went wrong is in the result. */
  load(key: string, traceContext?: string): Promise<FillResult> {
    if (this.#negative.has(key, this.options.scheduler.monotonicMs())) {
      this.#counts.negativeHits += 1;
      return Promise.resolve({ kind: "absent" });
    }
    const flight = this.#flights.get(key);
    if (flight === undefined) return this.#begin(key, this.options.look, traceContext);
    this.#counts.joined += 1;
    return flight.answer.promise.then(collapsed);
  }

  /** Reloads a key in the background, unless that is under way or the backend is in trouble. */
  refresh(key: string): void {
    if (this.#flights.has(key) || this.#breaker.state !== "closed") return;
    if (this.#negative.has(key, this.options.scheduler.monotonicMs())) return;
    if (this.#waiting.length * 2 > this.options.waitingKeys) return;
    void this.#begin(key, lookNowhere);
  }

  /**
   * Loads a key that the backend has just been given, for `sink`: it is told unless the key changes meanwhile, or the load
   * fails. Never rejects.
   */
  reload(key: string, sink: FillSink): Promise<FillResult> {
    this.changed(key);
    return this.#begin(key, lookNowhere, undefined, sink);
  }

  /** To be called for each write, delete and replicated mutation of a key, before it is answered. */
  changed(key: string): void {
    this.#negative.forget(key);
    const flight = this.#flights.get(key);
    if (flight === undefined) return;
    flight.mayFill = false;
    this.#flights.delete(key);
  }

  /** The same for all keys that `matches`; null = for every key. */
  changedMatching(matches: ((key: string) => boolean) | null): void {
    this.#negative.forgetMatching(matches);
    for (const key of [...this.#flights.keys()]) if (matches === null || matches(key)) this.changed(key);
  }

  /** How long until the backend is asked again, in ms; 0 = it is asked. */
  get retryAfterMs(): number {
    return this.#breaker.retryAfterMs;
  }

  stats(): ReadThroughStats {
    return {
      ...this.#counts,
      waiting: this.#waiting.length,
      breaker: this.#breaker.state,
      lastFailure: this.#lastFailure,
    };
  }

  /** When what is read now expires, in ms since the Unix epoch; 0 = never. Spread, see `TTL_JITTER`. */
  fillExpiryMs(): number {
    const { fillTtlMs, random, scheduler } = this.options;
    if (fillTtlMs === 0) return 0;
    return scheduler.nowMs() + Math.max(1, Math.round(fillTtlMs * (1 - TTL_JITTER + 2 * TTL_JITTER * random())));
  }

  #begin(
    key: string,
    look: ReadThroughOptions["look"],
    traceContext?: string,
    sink = this.options.sink,
  ): Promise<FillResult> {
    const flight: Flight = {
      key,
      sink,
      version: this.options.nextVersion(),
      answer: Promise.withResolvers(),
      deadlineMs: this.options.scheduler.monotonicMs() + this.options.timeoutMs,
      mayFill: true,
      traceContext,
    };
    this.#flights.set(key, flight);
    this.#unsettled.add(flight);
    this.#watch();
    const kept = look(key);
    if (kept instanceof Promise) kept.then((late) => this.#queue(flight, late));
    else this.#queue(flight, kept);
    return flight.answer.promise;
  }

  /** A load takes its place in the queue, unless the cache has its key by now. */
  #queue(flight: Flight, kept: Kept | null): void {
    const { waitingKeys } = this.options;
    // It took too long to look.
    if (!this.#unsettled.has(flight)) return;
    if (kept !== null) this.#answer(flight, { kind: "found", ...kept, isStored: true, isCollapsed: true });
    else if (this.#waiting.length >= waitingKeys) this.#answer(flight, busy(waitingKeys));
    else if (this.#breaker.state === "open") this.#answer(flight, open(this.#breaker.retryAfterMs));
    else {
      this.#counts.loads += 1;
      this.#waiting.push(flight);
      this.#schedule();
    }
  }

  #schedule(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    this.options.defer(() => {
      this.#isScheduled = false;
      this.#callWaiting();
    });
  }

  #callWaiting(): void {
    const { backend, concurrentCalls, room } = this.options;
    while (this.#waiting.length > 0 && this.#calls < concurrentCalls) {
      if (!this.#breaker.admits()) {
        // Half open: one call is on its way to see. The others are not to hang on it.
        for (const flight of this.#waiting.splice(0)) this.#settle(flight, open(this.#breaker.retryAfterMs));
        return;
      }
      const most = Math.max(1, Math.min(backend.loadBatchKeys, room?.keysPerCall ?? backend.loadBatchKeys));
      const keys = Math.min(most, this.#waiting.length);
      const takenBytes = room === null ? 0 : room.take(keys);
      if (takenBytes === null) {
        this.#waitForRoom();
        return;
      }
      const batch = this.#waiting.splice(0, keys);
      this.#calls += 1;
      this.#counts.calls += 1;
      void this.#call(batch, takenBytes);
    }
  }

  async #call(batch: readonly Flight[], takenBytes: number): Promise<void> {
    const { backend, timeoutMs, room } = this.options;
    // A load that was overtaken by a change may wait beside its successor.
    const keys = [...new Set(batch.map((flight) => flight.key))];
    let results: LoadResult[];
    try {
      results = await backend.load(keys, { timeoutMs, traceparents: batch.map((flight) => flight.traceContext) });
    } catch (error) {
      const failure = new BackendError("ERR_BACKEND_UNAVAILABLE", String(error), { cause: error });
      results = keys.map(() => ({ kind: "failed", error: failure }));
    }
    this.#calls -= 1;
    this.#judge(results);
    const resultOf = new Map(keys.map((key, i) => [key, results[i] ?? NOTHING_SAID]));
    for (const flight of batch) this.#settle(flight, resultOf.get(flight.key) ?? NOTHING_SAID);
    if (room === null) this.#callWaiting();
    else this.#leave(room, results, takenBytes);
  }

  /** Where no call is under way whose end makes room, it is threads that have yet to take what was loaded for them. */
  #waitForRoom(): void {
    if (this.#calls > 0 || this.#waitsForRoom) return;
    this.#waitsForRoom = true;
    this.options.scheduler.after(ROOM_PAUSE_MS, () => {
      this.#waitsForRoom = false;
      this.#callWaiting();
    });
  }

  /** What was loaded is handed on in this turn; then there is room for others. */
  #leave(room: LoadRoom, results: readonly LoadResult[], takenBytes: number): void {
    room.learn(results);
    this.options.defer(() => {
      room.giveBack(takenBytes);
      this.#callWaiting();
    });
  }

  #judge(results: readonly LoadResult[]): void {
    const outage = results.find(isOutage);
    if (outage?.kind !== "failed") {
      this.#lastFailure = null;
      this.#breaker.succeeded();
      return;
    }
    this.#lastFailure = { message: outage.error.message, atMs: this.options.scheduler.nowMs() };
    this.#breaker.failed();
  }

  #settle(flight: Flight, result: LoadResult): void {
    if (!this.#unsettled.delete(flight)) return;
    this.#counts[result.kind] += 1;
    const { version, mayFill: isStored } = flight;
    const filled: FillResult =
      result.kind === "found"
        ? { ...result, expiresAtMs: this.fillExpiryMs(), version, isStored, isCollapsed: false }
        : result;
    const kept = filled.kind === "failed" ? undefined : this.#keep(flight, filled);
    // Until the cache has it, whoever asks joins this load.
    if (kept instanceof Promise) kept.then(() => this.#answer(flight, filled));
    else this.#answer(flight, filled);
  }

  #answer(flight: Flight, result: FillResult): void {
    this.#unsettled.delete(flight);
    if (this.#flights.get(flight.key) === flight) this.#flights.delete(flight.key);
    flight.answer.resolve(result);
  }

  #keep(flight: Flight, result: Exclude<FillResult, { kind: "failed" }>): Awaitable<void> {
    if (!flight.mayFill) {
      this.#counts.discarded += 1;
      return;
    }
    const { key, sink, version } = flight;
    if (result.kind === "found") return sink.fill(key, result.value, result.expiresAtMs, version);
    this.#negative.add(key, this.options.scheduler.monotonicMs());
    return sink.absent(key, version);
  }

  /** One timer, for the load that has waited longest. */
  #watch(): void {
    if (this.#cancelTimer !== null) return;
    for (const { deadlineMs } of this.#unsettled) {
      const remainingMs = Math.max(0, deadlineMs - this.options.scheduler.monotonicMs());
      this.#cancelTimer = this.options.scheduler.after(remainingMs, () => this.#timeOut());
      return;
    }
  }

  /** Who waited so long gets an answer; a call that is under way has its own timeout, and may end a moment later. */
  #timeOut(): void {
    this.#cancelTimer = null;
    const { scheduler, timeoutMs } = this.options;
    const error = new BackendError("ERR_BACKEND_TIMEOUT", `no answer within ${timeoutMs} ms`);
    for (const flight of this.#unsettled) {
      if (flight.deadlineMs > scheduler.monotonicMs()) break;
      this.#settle(flight, { kind: "failed", error });
    }
    this.#waiting = this.#waiting.filter((flight) => this.#unsettled.has(flight));
    this.#watch();
  }
}

function collapsed(result: FillResult): FillResult {
  return result.kind === "found" ? { ...result, isCollapsed: true } : result;
}

const lookNowhere = (): null => null;

const NOTHING_SAID: LoadResult = {
  kind: "failed",
  error: new BackendError("ERR_BACKEND_ANSWER", "the backend said nothing about a key"),
};

/** Whether a result speaks of the backend and not of its key. */
function isOutage(result: LoadResult): boolean {
  if (result.kind !== "failed") return false;
  return result.error.code === "ERR_BACKEND_TIMEOUT" || result.error.code === "ERR_BACKEND_UNAVAILABLE";
}

function busy(limit: number): FillResult {
  return { kind: "failed", error: new BackendError("ERR_BACKEND_BUSY", `${limit} loads wait already; try again`) };
}

function open(retryAfterMs: number): FillResult {
  const message = `the backend failed repeatedly; it is asked again in ${retryAfterMs} ms`;
  return { kind: "failed", error: new BackendError("ERR_BACKEND_BREAKER_OPEN", message) };
}
