import { copyKey, type Key } from "../../model/key.ts";
import type { KeyPattern } from "../../model/matcher.ts";
import type { Stamp } from "../../model/stamp.ts";
import type { Awaitable } from "../../runtime/awaitable.ts";
import {
  type DeleteOutcome,
  type DeleteRequest,
  type Engine,
  type EngineHealth,
  type EngineStats,
  EngineUnavailableError,
  type EntryInfo,
  type EntrySink,
  type IncrementOutcome,
  type IncrementRequest,
  type LateReader,
  type PutOutcome,
  type PutRequest,
  type ScanPage,
  type ScanRequest,
  type TouchOutcome,
  type TouchRequest,
} from "../engine.ts";
import type { Breaker, Outage } from "./breaker.ts";
import { classify, toReadError, toWriteError } from "./errors.ts";
import type { NearCache } from "./near-cache.ts";
import type { RemoteEngine } from "./remote-engine.ts";

interface GuardOptions {
  readonly breaker: Breaker;
  readonly near: NearCache | null;
  /** The server that holds a key. */
  readonly serverOf: (key: Key) => string;
  /** The name to probe a key's server with. */
  readonly probeNameOf: (key: Key) => string;
  /** All servers that hold entries. */
  readonly servers: () => readonly string[];
  readonly staleIfErrorMs: number;
  readonly clock: () => number;
}

/** The most pooled readers; more would only be kept after a burst. */
const MAX_SPARE_READS = 256;

/** The `Retry-After` of refused calls. */
const RETRY_AFTER_MS = 1000;

/**
 * The Redis engine as callers see it: calls for the keys of a server that is away are not sent. Reads are then answered
 * from the near cache, marked as stale, or refused at once; mutations are refused at once, and change nothing. An error
 * of one command fails only the call that sent it.
 */
export class GuardedEngine implements Engine {
  readonly name = "redis";
  readonly answersAtOnce = false;
  readonly refusesForgotten = false;
  readonly #redis: RemoteEngine;
  readonly #options: GuardOptions;
  readonly #breaker: Breaker;
  readonly #spareReads: GuardedRead[] = [];
  readonly #startMs: number;

  constructor(redis: RemoteEngine, options: GuardOptions) {
    this.#redis = redis;
    this.#options = options;
    this.#breaker = options.breaker;
    this.#startMs = options.clock();
  }

  get(key: Key, sink: EntrySink): Awaitable<boolean> {
    const refusal = this.#refusalOf(key);
    if (refusal !== null) {
      if (this.#readStale(key, sink)) return true;
      throw refusal;
    }
    const { near } = this.#options;
    // A hit in the near cache allocates no promise and cannot fail.
    if (near?.get(key, sink) === true) return true;
    return this.#guardGet(near === null ? this.#redis.get(key, sink) : near.load(key, sink), copyKey(key), sink);
  }

  getLater(key: Key, reader: LateReader): boolean {
    if (this.#options.near !== null || this.#refusalOf(key) !== null) return false;
    const guarded = this.#spareReads.pop() ?? new GuardedRead(this);
    guarded.key = key;
    guarded.reader = reader;
    if (this.#redis.getLater(key, guarded)) return true;
    this.readIsOver(guarded);
    return false;
  }

  readSucceeded(key: Key): void {
    this.#succeeded(key);
  }

  /** Called when a read by `get` failed. */
  readFailed(error: unknown, key: Key, reader: LateReader): void {
    this.#noteFailure(key, error);
    reader.failed(toReadError(error, RETRY_AFTER_MS));
  }

  readIsOver(read: GuardedRead): void {
    if (this.#spareReads.length < MAX_SPARE_READS) this.#spareReads.push(read);
  }

  peek(key: Key, sink: EntrySink): Promise<boolean> {
    return this.#guard(key, toReadError, () => this.#redis.peek(key, sink));
  }

  stampOf(key: Key): Promise<Stamp | null> {
    return this.#guard(key, toReadError, () => this.#redis.stampOf(key));
  }

  put(request: PutRequest): Promise<PutOutcome> {
    return this.#change(request.key, () => this.#redis.put(request));
  }

  delete(request: DeleteRequest): Promise<DeleteOutcome> {
    return this.#change(request.key, () => this.#redis.delete(request));
  }

  touch(request: TouchRequest): Promise<TouchOutcome> {
    return this.#change(request.key, () => this.#redis.touch(request));
  }

  increment(request: IncrementRequest): Promise<IncrementOutcome> {
    return this.#change(request.key, () => this.#redis.increment(request));
  }

  scan(request: ScanRequest): Promise<ScanPage> {
    return this.#guard(null, toReadError, () => this.#redis.scan(request));
  }

  deleteMatching(pattern: KeyPattern, stamp: Stamp): Promise<number> {
    return this.#changeAll(pattern, () => this.#redis.deleteMatching(pattern, stamp));
  }

  clear(stamp: Stamp): Promise<number> {
    return this.#changeAll(null, () => this.#redis.clear(stamp));
  }

  async stats(): Promise<EngineStats> {
    try {
      return await this.#redis.stats();
    } catch (error) {
      this.#noteFailure(null, error);
      throw toReadError(error, RETRY_AFTER_MS);
    }
  }

  requireReachable(key: Key | null): void {
    const refusal = this.#refusalOf(key);
    if (refusal !== null) throw refusal;
  }

  health(): EngineHealth {
    const servers = this.#breaker.isAnyOpen ? [...new Set(["", ...this.#options.servers()])] : [];
    const away = servers.flatMap((server) => {
      const outage = this.#breaker.outageOf(server);
      return outage === null ? [] : [{ server, ...outage }];
    });
    const [first] = away;
    if (first === undefined) return { status: "ok", detail: "", sinceMs: this.#breaker.changedMs || this.#startMs };
    const isPart = first.server !== "" && away.length < servers.length - 1;
    return {
      status: isPart ? "degraded" : "unavailable",
      detail: away.map(({ server, reason }) => `${nameOf(server)} is away: ${reason}`).join("; "),
      sinceMs: first.sinceMs,
    };
  }

  async close(): Promise<void> {
    this.#breaker.close();
    this.#options.near?.close();
    await this.#redis.close();
  }

  async #guardGet(reading: Promise<boolean>, key: Key, sink: EntrySink): Promise<boolean> {
    try {
      const found = await reading;
      this.#succeeded(key);
      return found;
    } catch (error) {
      this.#noteFailure(key, error);
      const failure = toReadError(error, RETRY_AFTER_MS);
      if (failure instanceof EngineUnavailableError && this.#readStale(key, sink)) return true;
      throw failure;
    }
  }

  #change<T>(key: Key, run: () => Promise<T>): Promise<T> {
    const { near } = this.#options;
    return this.#guard(key, toWriteError, near === null ? run : () => near.changing(key, run));
  }

  #changeAll<T>(pattern: KeyPattern | null, run: () => Promise<T>): Promise<T> {
    const { near } = this.#options;
    return this.#guard(null, toWriteError, near === null ? run : () => near.changingAll(pattern, run));
  }

  /** Runs a call about one key, or (null) about all keys. */
  async #guard<T>(key: Key | null, toError: typeof toReadError, run: () => Promise<T>): Promise<T> {
    const refusal = this.#refusalOf(key);
    if (refusal !== null) throw refusal;
    // The key's buffer may be reused by the time of an error.
    const own = key === null ? null : copyKey(key);
    try {
      const result = await run();
      this.#succeeded(own);
      return result;
    } catch (error) {
      this.#noteFailure(own, error);
      throw toError(error, RETRY_AFTER_MS);
    }
  }

  #succeeded(key: Key | null): void {
    this.#breaker.succeeded();
    if (key !== null && this.#breaker.hasSuspects) this.#breaker.cleared(this.#options.serverOf(key));
  }

  #noteFailure(key: Key | null, error: unknown): void {
    if (classify(error) !== "away") return;
    const { serverOf, probeNameOf, servers } = this.#options;
    if (key !== null) this.#breaker.failed(serverOf(key), probeNameOf(key), error);
    // With several servers, it is unknown which one failed.
    else if (servers().length === 1) this.#breaker.failed(servers()[0] ?? "", "", error);
  }

  #readStale(key: Key, sink: EntrySink): boolean {
    const { near, staleIfErrorMs, serverOf, clock } = this.#options;
    if (near === null || staleIfErrorMs === 0) return false;
    const awaySinceMs = this.#outageOf(serverOf(key))?.sinceMs ?? clock();
    return clock() - awaySinceMs <= staleIfErrorMs && near.getStale(key, sink, staleIfErrorMs);
  }

  /** The error for a call that can't be executed now; null = try it. */
  #refusalOf(key: Key | null): EngineUnavailableError | null {
    if (!this.#breaker.isAnyOpen) return null;
    const { serverOf, servers } = this.#options;
    for (const server of key === null ? servers() : [serverOf(key)]) {
      const outage = this.#outageOf(server);
      if (outage !== null) {
        return new EngineUnavailableError(`${nameOf(server)} is not available: ${outage.reason}`, RETRY_AFTER_MS);
      }
    }
    return null;
  }

  /** The outage of a key's server, or (null) of any server. */
  #outageOf(server: string): Outage | null {
    return this.#breaker.outageOf(server) ?? (server === "" ? null : this.#breaker.outageOf(""));
  }
}

/** Stands between a reader and Redis, to observe failures. Pooled. */
class GuardedRead implements LateReader {
  key: Key | null = null;
  reader: LateReader | null = null;

  constructor(private readonly guard: GuardedEngine) {}

  get target(): Buffer {
    return this.#current().target;
  }

  get offset(): number {
    return this.#current().offset;
  }

  begin(entry: EntryInfo): boolean {
    return this.#current().begin(entry);
  }

  done(isFound: boolean): void {
    if (this.key !== null) this.guard.readSucceeded(this.key);
    this.#release().done(isFound);
  }

  failed(error: unknown): void {
    const { key } = this;
    const reader = this.#release();
    if (key === null) reader.failed(error);
    else this.guard.readFailed(error, key, reader);
  }

  #current(): LateReader {
    if (this.reader === null) throw new Error("a read goes on after its end");
    return this.reader;
  }

  /** Before the reader is told, because it may start another read at once. */
  #release(): LateReader {
    const reader = this.#current();
    this.reader = null;
    this.guard.readIsOver(this);
    return reader;
  }
}

function nameOf(server: string): string {
  return server === "" ? "Redis" : `Redis at ${server}`;
}
