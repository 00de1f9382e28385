import {
  type DeleteOutcome,
  type DeleteRequest,
  type Engine,
  type EngineHealth,
  type EngineStats,
  EngineUnavailableError,
  type EntrySink,
  type IncrementOutcome,
  type IncrementRequest,
  type Key,
  type KeyPattern,
  type LateReader,
  type PutOutcome,
  type PutRequest,
  type ScanPage,
  type ScanRequest,
  type Stamp,
  type TouchOutcome,
  type TouchRequest,
} from "../engine.ts";
import { Breaker, type Outage } from "./breaker.ts";
import { classify, isNotSent, toEngineError } from "./errors.ts";
import { GuardedRead } from "./guarded-read.ts";
import { copyKey } from "./journal.ts";

/** What takes the calls while Redis is away. `OutageStore` keeps them; `null` stands for refusing them. */
export interface Substitute extends Engine {
  /** Sends everything that was accepted to `redis`. Rejects when that fails: what is left stays. */
  replayTo(redis: Engine): Promise<void>;
  /** Whether nothing waits to be sent. */
  readonly isDrained: boolean;
}

interface ResilientOptions {
  readonly substitute: Substitute | null;
  readonly probe: () => Promise<void>;
  readonly clock: () => number;
  readonly random: () => number;
  readonly log: (message: string) => void;
}

/** More would only be kept after a crowd has gone. */
const MAX_SPARE_READS = 256;

/** What a client that is refused should wait. */
const RETRY_AFTER_MS = 1000;

/**
 * The engine on Redis, with an answer for the time when Redis is away: calls then go to a substitute, or are refused at
 * once. A mutation that fails for want of Redis opens the breaker right away when there is a substitute, because
 * reading from Redis would not show it.
 */
export class ResilientEngine implements Engine {
  readonly name = "redis";
  readonly answersAtOnce = false;
  readonly refusesForgotten = false;
  readonly #redis: Engine;
  readonly #substitute: Substitute | null;
  readonly #options: ResilientOptions;
  readonly #breaker: Breaker;
  readonly #spareReads: GuardedRead[] = [];
  #okSinceMs: number;
  #lastStats: EngineStats | null = null;

  constructor(redis: Engine, options: ResilientOptions) {
    this.#redis = redis;
    this.#substitute = options.substitute;
    this.#options = options;
    this.#okSinceMs = options.clock();
    this.#breaker = new Breaker({
      clock: options.clock,
      random: options.random,
      probe: options.probe,
      recover: async () => this.#substitute?.replayTo(redis),
      isRecovered: () => this.#substitute?.isDrained ?? true,
      onChange: (outage) => this.#report(outage),
    });
  }

  /** Asks Redis once; opens the breaker if it doesn't answer. */
  async checkNow(): Promise<void> {
    try {
      await this.#options.probe();
    } catch (error) {
      this.#breaker.open(error);
    }
  }

  get(key: Key, sink: EntrySink) {
    if (this.#breaker.outage !== null) return this.#whileAway().get(key, sink);
    const reading = this.#redis.get(key, sink);
    // A hit in the near cache: no promise, nothing that can fail.
    if (typeof reading === "boolean") return reading;
    return this.#guardRead(reading, this.#substitute === null ? null : copyKey(key), sink);
  }

  getLater(key: Key, reader: LateReader): boolean {
    if (this.#breaker.outage !== null || this.#redis.getLater === undefined) return false;
    const guarded = this.#spareReads.pop() ?? new GuardedRead(this);
    guarded.key = key;
    guarded.reader = reader;
    if (this.#redis.getLater(key, guarded)) return true;
    this.readIsOver(guarded);
    return false;
  }

  readSucceeded(): void {
    this.#breaker.succeeded();
  }

  /** As a read by `get` that failed. */
  readFailed(error: unknown, key: Key, reader: LateReader): void {
    const isOutage = classify(error) === "unavailable";
    if (isOutage) this.#noteFailure(error);
    const found = isOutage ? this.#substitute?.get(key, reader) : undefined;
    if (found === true) reader.found();
    else if (found === false) reader.missed();
    else reader.failed(toEngineError(error, RETRY_AFTER_MS));
  }

  readIsOver(read: GuardedRead): void {
    if (this.#spareReads.length < MAX_SPARE_READS) this.#spareReads.push(read);
  }

  async peek(key: Key, sink: EntrySink): Promise<boolean> {
    if (this.#breaker.outage !== null) return this.#whileAway().peek(key, sink);
    return this.#attempt(async () => this.#redis.peek(key, sink));
  }

  async stampOf(key: Key): Promise<Stamp | null> {
    if (this.#breaker.outage !== null) return this.#whileAway().stampOf(key);
    return this.#attempt(async () => this.#redis.stampOf(key));
  }

  put(request: PutRequest): Promise<PutOutcome> {
    const { key, source, start, end } = request;
    if (this.#substitute === null && this.#breaker.outage === null) {
      return this.#mutate(request, (engine, kept) => engine.put(kept));
    }
    const value = Buffer.from(source.subarray(start, end));
    const kept = { ...request, key: copyKey(key), source: value, start: 0, end: value.length };
    return this.#mutate(kept, (engine, again) => engine.put(again));
  }

  delete(request: DeleteRequest): Promise<DeleteOutcome> {
    return this.#mutate({ ...request, key: copyKey(request.key) }, (engine, kept) => engine.delete(kept));
  }

  touch(request: TouchRequest): Promise<TouchOutcome> {
    return this.#mutate({ ...request, key: copyKey(request.key) }, (engine, kept) => engine.touch(kept));
  }

  increment(request: IncrementRequest): Promise<IncrementOutcome> {
    const kept = { ...request, key: copyKey(request.key), isUnrepeatable: true };
    return this.#mutate(kept, (engine, again) => engine.increment(again));
  }

  deleteMatching(pattern: KeyPattern, stamp: Stamp): Promise<number> {
    return this.#mutate({ condition: null }, (engine) => engine.deleteMatching(pattern, stamp));
  }

  clear(stamp: Stamp): Promise<number> {
    return this.#mutate({ condition: null }, (engine) => engine.clear(stamp));
  }

  async scan(request: ScanRequest): Promise<ScanPage> {
    if (this.#breaker.outage !== null) return this.#whileAway().scan(request);
    return this.#attempt(async () => this.#redis.scan(request));
  }

  async stats(): Promise<EngineStats> {
    if (this.#breaker.outage === null) {
      try {
        this.#lastStats = await this.#redis.stats();
      } catch (error) {
        if (classify(error) === "other") throw error;
        this.#breaker.failed(error);
      }
    }
    return addCounts(this.#lastStats ?? NO_STATS, (await this.#substitute?.stats()) ?? NO_STATS);
  }

  health(): EngineHealth {
    const { outage } = this.#breaker;
    if (outage === null) return { status: "ok", detail: "", sinceMs: this.#okSinceMs };
    const status = this.#substitute === null ? "unavailable" : "degraded";
    return { status, detail: `Redis is away: ${outage.reason}`, sinceMs: outage.sinceMs };
  }

  maintain(): number {
    return Math.min(this.#redis.maintain(), this.#substitute?.maintain() ?? Number.POSITIVE_INFINITY);
  }

  async close(): Promise<void> {
    this.#breaker.close();
    await this.#redis.close();
  }

  /**
   * Runs a mutation on Redis, or on the substitute while Redis is away. One whose outcome is unknown is repeated there
   * only if that does no harm: not a counter's, and not one whose condition its first run may have changed.
   */
  async #mutate<R extends { condition: unknown; isUnrepeatable?: boolean }, O>(
    request: R,
    run: (engine: Engine, request: R) => O | Promise<O>,
  ): Promise<O> {
    if (this.#breaker.outage !== null) return run(this.#whileAway(), request);
    try {
      const outcome = await run(this.#redis, request);
      this.#breaker.succeeded();
      return outcome;
    } catch (error) {
      if (classify(error) !== "unavailable") throw toEngineError(error, RETRY_AFTER_MS);
      this.#noteFailure(error);
      const wasNotSent = isNotSent(error);
      const isRepeatable = wasNotSent || (request.condition === null && request.isUnrepeatable !== true);
      if (this.#substitute === null || !isRepeatable) throw toEngineError(error, RETRY_AFTER_MS);
      this.#breaker.open(error);
      return run(this.#substitute, request);
    }
  }

  async #guardRead(reading: Promise<boolean>, key: Key | null, sink: EntrySink): Promise<boolean> {
    try {
      const found = await reading;
      this.#breaker.succeeded();
      return found;
    } catch (error) {
      if (classify(error) !== "unavailable") throw toEngineError(error, RETRY_AFTER_MS);
      this.#noteFailure(error);
      if (this.#substitute === null || key === null) throw toEngineError(error, RETRY_AFTER_MS);
      return this.#substitute.get(key, sink);
    }
  }

  async #attempt<T>(run: () => Promise<T>): Promise<T> {
    try {
      const result = await run();
      this.#breaker.succeeded();
      return result;
    } catch (error) {
      if (classify(error) === "unavailable") this.#noteFailure(error);
      throw toEngineError(error, RETRY_AFTER_MS);
    }
  }

  #noteFailure(error: unknown): void {
    if (isNotSent(error)) this.#breaker.open(error);
    else this.#breaker.failed(error);
  }

  #whileAway(): Engine {
    if (this.#substitute !== null) return this.#substitute;
    throw new EngineUnavailableError(`Redis is not available: ${this.#breaker.outage?.reason}`, RETRY_AFTER_MS);
  }

  #report(outage: Outage | null): void {
    const nowMs = this.#options.clock();
    this.#okSinceMs = nowMs;
    if (outage === null) this.#options.log("Redis is back");
    else this.#options.log(`Redis is away: ${outage.reason}`);
  }
}

const NO_STATS: EngineStats = {
  entries: 0,
  usedBytes: null,
  limitBytes: null,
  hits: 0,
  misses: 0,
  sets: 0,
  deletes: 0,
  evictions: 0,
  evictionsByReason: {},
  expirations: 0,
};

function addCounts(redis: EngineStats, substitute: EngineStats): EngineStats {
  return {
    ...redis,
    hits: redis.hits + substitute.hits,
    misses: redis.misses + substitute.misses,
    sets: redis.sets + substitute.sets,
    deletes: redis.deletes + substitute.deletes,
  };
}
