/** The database behind a node, in its main thread: what is loaded from it, and what is on its way to it. */

import { fullGC } from "bun:jsc";
import type { Loaded } from "../cache/backing-store.ts";
import { Filler, type LateFills } from "../cache/filler.ts";
import type { PartState } from "../cache/operator-port.ts";
import type { RecentInvalidations } from "../cache/recent-invalidations.ts";
import { UpstreamError } from "../cache/upstream-error.ts";
import type { BackendConfig } from "../config/config.ts";
import { type Engine, EngineUnavailableError } from "../engine/engine.ts";
import { NEVER } from "../model/entry.ts";
import { Glob } from "../model/glob.ts";
import type { HybridClock } from "../model/hybrid-clock.ts";
import { hasValue, type Mutation, type ValueMutation } from "../model/mutation.ts";
import type { Version } from "../model/stamp.ts";
import type { OutboxRow } from "../outbox/entry.ts";
import type { Outbox } from "../outbox/outbox.ts";
import type { Awaitable } from "../runtime/awaitable.ts";
import type { ByteBudget } from "../runtime/byte-budget.ts";
import type { Scheduler } from "../runtime/scheduler.ts";
import type { MetricFamily } from "../telemetry/metric-family.ts";
import { type Backend, BackendConfigError, BackendError } from "./backend.ts";
import { backendProblem } from "./backend-health.ts";
import { type BackendCounts, backendCounts, backendFamilies } from "./backend-metrics.ts";
import { BACKEND, BackendRows } from "./backend-rows.ts";
import { CacheFills, LATE_MS } from "./cache-fills.ts";
import { keptEntry, keyMatches } from "./kept-entry.ts";
import { LoadRoom } from "./load-room.ts";
import { Reachability } from "./reachability.ts";
import { type FillResult, type Kept, ReadThrough } from "./read-through.ts";
import { StaleValues } from "./stale-values.ts";
import { WriteBehind } from "./write-behind.ts";
import { WriteReload } from "./write-reload.ts";

export interface DatabaseStoreOptions {
  readonly config: BackendConfig;
  readonly backend: Backend;
  readonly outbox: Outbox;
  readonly engine: Engine;
  /** What loads may hold; null = not bounded. */
  readonly inFlight: ByteBudget | null;
  /** See `FillerOptions`. */
  readonly late?: LateFills;
  /** Keeps values after their TTL; null = none are kept. */
  readonly staleEngine: Engine | null;
  readonly invalidations: RecentInvalidations;
  readonly versions: HybridClock;
  readonly nodeId: number;
  readonly scheduler: Scheduler;
  readonly random: () => number;
  readonly log: (message: string) => void;
}

const WAITING_KEYS = 10_000;
const NEGATIVE_KEYS = 100_000;
const BREAKER = { failures: 10, openMs: 500, openMaxMs: 10_000 };
const WRITE_BATCH_BYTES = 8 * 1024 * 1024;
const WRITE_BACKOFF = { firstMs: 100, maxMs: 10_000 };
const LOOK_BACKOFF = { backoffFirstMs: 500, backoffMaxMs: 5_000 };
const RETRY_AFTER_MS = 1_000;
/** Of timers and commits. */
const SLACK_MS = 5_000;

export class DatabaseStore {
  readonly #options: DatabaseStoreOptions;
  readonly #rows: BackendRows;
  readonly #readThrough: ReadThrough;
  readonly #writeBehind: WriteBehind;
  readonly #reachability: Reachability;
  readonly #filler: Filler;
  readonly #fills: CacheFills;
  readonly #stale: StaleValues | null;
  /** Null = what was written stays as it was sent. */
  readonly #reload: WriteReload | null;
  /** Writes that readers may have seen in the outbox, and that others now wait in place of; by key. */
  readonly #replaced = new Map<string, Version>();

  /** Throws `InvalidPatternError` for a glob that can't be used. */
  constructor(options: DatabaseStoreOptions) {
    this.#options = options;
    const { config, backend, outbox, scheduler, random, staleEngine, invalidations } = options;
    const onFailure = (error: unknown) => {
      // That the engine is away is said once, by itself.
      if (error instanceof EngineUnavailableError) return;
      options.log(`a loaded value could not be cached: ${String(error)}`);
    };
    this.#rows = new BackendRows(config);
    this.#filler = new Filler({
      ...{ engine: options.engine, invalidations, onFailure },
      ...(options.late === undefined ? {} : { late: options.late }),
    });
    this.#fills = new CacheFills({
      ...{
        filler: this.#filler,
        scheduler,
        engine: options.engine,
        outbox,
        versions: options.versions,
        log: options.log,
      },
      isKeptElsewhere: options.late !== undefined,
      isAwaited: (key) => this.#writeBehind.isAwaited(key),
    });
    this.#stale =
      staleEngine === null
        ? null
        : new StaleValues({
            engine: staleEngine,
            keepMs: config.staleIfErrorMs,
            lateMs: config.writeTimeoutMs + SLACK_MS,
            invalidations,
            nowMs: () => scheduler.nowMs(),
            onFailure,
          });
    this.#readThrough = new ReadThrough({
      backend,
      timeoutMs: config.timeoutMs,
      concurrentCalls: config.connections,
      waitingKeys: WAITING_KEYS,
      fillTtlMs: config.fillTtlMs,
      negativeTtlMs: config.negativeTtlMs,
      negativeKeys: NEGATIVE_KEYS,
      breaker: BREAKER,
      nextVersion: () => options.versions.next(),
      sink: {
        fill: (key, value, expiresAtMs, version) => {
          const stamp = { version, nodeId: options.nodeId };
          this.#keep(this.#stale?.keep(key, value, expiresAtMs, stamp));
          const filled = this.#fills.fill(key, value, expiresAtMs, version);
          return options.engine.answersAtOnce ? undefined : filled;
        },
        // The entry itself stays: a write for the cache alone, or one that a peer has yet to write, is not in the database.
        absent: (key, version) => {
          const deleted = this.#fills.written.get(key) ?? null;
          if (deleted !== null) this.#keep(this.#fills.absent(key, deleted));
          this.#keep(this.#stale?.drop(key, { version, nodeId: options.nodeId }));
        },
      },
      room: options.inFlight === null ? null : new LoadRoom(options.inFlight, fullGC),
      look: (key) => this.#look(key),
      scheduler,
      defer: (run) => setImmediate(run),
      random,
    });
    this.#reload = config.reloadsWrites ? this.#writeReload() : null;
    this.#reachability = new Reachability({ backend, timeoutMs: config.timeoutMs, ...LOOK_BACKOFF, scheduler, random });
    this.#writeBehind = new WriteBehind({
      outbox,
      backend,
      destination: BACKEND,
      delayMs: config.writeDelayMs,
      batchRows: config.writeBatchRows,
      batchBytes: WRITE_BATCH_BYTES,
      concurrency: config.writeConnections,
      attempts: config.writeAttempts,
      timeoutMs: config.writeTimeoutMs,
      backoffFirstMs: WRITE_BACKOFF.firstMs,
      backoffMaxMs: WRITE_BACKOFF.maxMs,
      scheduler,
      random,
      onWritten: (entry, isSuperseded) => {
        const { mutation } = entry;
        if (mutation.stamp.version >= (this.#replaced.get(entry.key) ?? Number.POSITIVE_INFINITY)) {
          this.#replaced.delete(entry.key);
        }
        if (!isSuperseded) this.#fills.written.set(entry.key, mutation.stamp);
        if (config.writeMode === "through") return this.#writtenThrough(mutation, isSuperseded);
        if (mutation.kind === "put") this.#keep(this.#reload?.after(mutation));
        return;
      },
    });
  }

  /** Throws `BackendConfigError` where the database is there and does not take the user's SQL. */
  async tryOut(): Promise<void> {
    const { backend, config } = this.#options;
    if (config.readSql === null) return;
    await backend.check({ timeoutMs: config.timeoutMs }).catch((error: unknown) => {
      // A database that is away is waited for, and told of by `Reachability`.
      if (error instanceof BackendConfigError) throw error;
    });
  }

  start(): void {
    this.#reachability.start();
    this.#writeBehind.start();
  }

  /** What the database has to get of a mutation; null = nothing. */
  rowOf(mutation: Mutation): OutboxRow | null {
    return this.#rows.rowOf(mutation);
  }

  /**
   * To be called for each mutation when it is kept, and not before: what was loaded before it is not cached after it, and
   * what was refused is never served. Where it gives a promise, the mutation is to be applied after that.
   */
  changed(mutation: Mutation): Promise<void> | undefined {
    if (mutation.kind === "invalidate") {
      const glob = mutation.pattern === null ? null : Glob.parse(mutation.pattern);
      this.#readThrough.changedMatching(glob === null ? null : (key) => keyMatches(glob, key));
      this.#keep(this.#stale?.invalidate(glob, mutation.stamp));
      return;
    }
    const { key, stamp } = mutation;
    if (hasValue(mutation)) this.#keep(this.#stale?.keep(key, mutation.value, mutation.expiresAtMs, stamp));
    else this.#keep(this.#stale?.drop(key, stamp));
    if (mutation.kind === "touch") return;
    return this.#changed(key, stamp.version);
  }

  /** What was loaded before a write that is about to begin is not cached after it. */
  unload({ key, mutation: { stamp } }: OutboxRow): Promise<void> | undefined {
    return this.#changed(key, stamp.version);
  }

  /** Why the database can't get a row of this key; empty = it can. */
  refusalOf(key: string): string {
    const problem = this.#options.backend.keyProblem(key);
    return problem === "" ? "" : `the database can't have this key: ${problem}; use a key that it can have`;
  }

  /** Settles when the database has it. Rejects with `UpstreamError`. */
  async writeThrough(row: OutboxRow): Promise<void> {
    const shown = this.#writeBehind.isAwaited(row.key) ? null : this.#options.outbox.pendingValue(BACKEND, row.key);
    if (shown !== null) this.#replaced.set(row.key, shown.stamp.version);
    try {
      await this.#writeBehind.writeThrough(row);
    } catch (error) {
      // From now on, what waits is what the database will have; what was read before is not cached after that.
      await this.unload(row);
      throw error instanceof BackendError ? upstreamError(error, error.code !== "ERR_BACKEND_REFUSED") : error;
    }
  }

  /**
   * See `Upstream.load`. A write that waits for the database is what the database will have, unless its client is still
   * to be told whether the database takes it. Where it took the place of one that readers have seen, neither it nor what the
   * database has from before may be shown.
   */
  async load(key: string, traceContext?: string): Promise<Loaded> {
    if (!this.#rows.concerns(key)) return ABSENT;
    const refusal = this.refusalOf(key);
    if (refusal !== "") return this.#options.config.writeMode === "none" ? ABSENT : { kind: "absent", refusal };
    const waiting = this.#options.outbox.pendingValue(BACKEND, key);
    if (waiting === null) this.#replaced.delete(key);
    else if (this.#replaced.has(key) && this.#writeBehind.isAwaited(key)) {
      throw upstreamError(new BackendError("ERR_BACKEND_BUSY", "an earlier write of the key is not yet over"), false);
    }
    if (waiting !== null && !this.#writeBehind.isAwaited(key) && !this.#isReloaded(key, waiting)) {
      return this.#fillFrom(key, waiting);
    }
    return this.#loaded(key, await this.#readThrough.load(key, traceContext));
  }

  /** Loads a key again in the background; failures show in the statistics. */
  refresh(key: string): void {
    if (!this.#rows.concerns(key) || this.#options.outbox.pendingValue(BACKEND, key) !== null) return;
    this.#readThrough.refresh(key);
  }

  health(): PartState {
    const loads = this.#readThrough.stats();
    const writes = this.#writeBehind.stats();
    const { dead, pending } = this.#options.outbox.counts(BACKEND);
    const detail = backendProblem({
      ...{ unreachable: this.#reachability.problem, told: this.#options.backend.problem },
      ...{ loads, writes, pending, dead, nowMs: this.#options.scheduler.nowMs() },
    });
    return {
      status: detail === "" ? "ok" : "degraded",
      detail,
      facts: { name: this.#options.backend.name, breaker: loads.breaker, writing: writes.state, dead_letters: dead },
    };
  }

  stats(): BackendCounts {
    return backendCounts(this.#readThrough.stats(), this.#writeBehind.stats(), this.#stale?.answers ?? 0);
  }

  metrics(): MetricFamily[] {
    return backendFamilies(this.stats(), this.#readThrough.stats().breaker);
  }

  /** Writes what waits; gives how much still does when the time is over. */
  drain(limitMs: number): Promise<number> {
    return this.#writeBehind.drain(limitMs);
  }

  async stop(): Promise<void> {
    this.#reachability.stop();
    await this.#writeBehind.stop();
    await this.#options.backend.close();
    await this.#options.staleEngine?.close();
  }

  /**
   * The database has a write, and its clients are about to be told. Of a key, writes are applied here in the order in which
   * the database has them: the threads that they came from may be late with older ones, which others have seen replaced.
   */
  #writtenThrough(written: Mutation, isSuperseded: boolean): Promise<void> | undefined {
    if (written.kind === "invalidate") return;
    const { key, stamp } = written;
    this.#keep(this.#changed(key));
    if (written.kind === "put" && this.#reload !== null) return this.#reload.after(written);
    if (isSuperseded) return;
    const applied = hasValue(written)
      ? this.#filler.fill(key, written.value, this.#expiryOf(written), stamp).then(() => {})
      : this.#fills.absent(key, stamp);
    return this.#options.engine.answersAtOnce ? undefined : applied;
  }

  /** Of a write, for the cache: as the write said, and where that is over, as of what is loaded. */
  #expiryOf({ expiresAtMs }: ValueMutation): number {
    const isAlive = expiresAtMs === NEVER || expiresAtMs > this.#options.scheduler.nowMs();
    return isAlive ? expiresAtMs : this.#readThrough.fillExpiryMs();
  }

  /** `before`: fills that are older than this saw the change, or give way to it by themselves. */
  #changed(key: string, before = 0): Promise<void> | undefined {
    this.#readThrough.changed(key);
    return this.#fills.undo(key, before);
  }

  /** Caches a write that waits. */
  async #fillFrom(key: string, waiting: Mutation): Promise<Loaded> {
    const { stamp } = waiting;
    if (!hasValue(waiting)) {
      await this.#fills.absent(key, stamp);
      return { kind: "absent" };
    }
    const version = this.#options.versions.next();
    // Since the cache was asked, it may have got something newer.
    const kept = await this.#look(key);
    if (kept !== null) return this.#shown(kept);
    const { value } = waiting;
    const expiresAtMs = this.#expiryOf(waiting);
    await this.#fills.fill(key, value, expiresAtMs, version, stamp);
    return { kind: "found", value, expiresAtMs, stamp, isStale: false, isStored: true, isCollapsed: false };
  }

  /** It is written, though still in the outbox, and reads are to see what the database made of it. */
  #isReloaded(key: string, { stamp }: Mutation): boolean {
    const written = this.#reload === null ? null : (this.#fills.written.get(key) ?? null);
    return written !== null && written.version === stamp.version && written.nodeId === stamp.nodeId;
  }

  #writeReload(): WriteReload {
    const { outbox, versions, nodeId, scheduler } = this.#options;
    return new WriteReload({
      readThrough: this.#readThrough,
      filler: this.#filler,
      look: (key) => this.#look(key),
      waiting: (key) => outbox.pendingValue(BACKEND, key),
      fillVersion: (key, seen) => {
        const version = versions.next();
        this.#fills.note(key, version, seen);
        return version;
      },
      nodeId,
      onLoaded: (key, value, expiresAtMs, version) =>
        this.#keep(this.#stale?.keep(key, value, expiresAtMs, { version, nodeId })),
      nowMs: () => scheduler.nowMs(),
      lateMs: LATE_MS,
    });
  }

  async #loaded(key: string, result: FillResult): Promise<Loaded> {
    if (result.kind === "absent") return { kind: "absent" };
    if (result.kind === "found") {
      // The key was written meanwhile. The load may have seen more than is here yet: then the next read would see less.
      const kept = result.isStored ? null : await this.#look(key);
      if (kept !== null) return this.#shown(kept);
      const { version, ...found } = result;
      return { ...found, stamp: { version, nodeId: this.#options.nodeId }, isStale: false };
    }
    const stale = (await this.#stale?.get(key)) ?? null;
    if (stale !== null) return stale;
    const { code, message } = result.error;
    // To a reader it is a failure of the database like any other.
    const failure = code === "ERR_BACKEND_REFUSED" ? new BackendError("ERR_BACKEND_ANSWER", message) : result.error;
    throw upstreamError(failure, false, this.#readThrough.retryAfterMs);
  }

  /** What the cache has by now. */
  #shown({ value, expiresAtMs, version }: Kept): Loaded {
    const stamp = { version, nodeId: this.#options.nodeId };
    return { kind: "found", value, expiresAtMs, stamp, isStale: false, isStored: true, isCollapsed: true };
  }

  #look(key: string): Awaitable<Kept | null> {
    return keptEntry(this.#options.engine, key, this.#options.late);
  }

  /** Errors are logged where they happen. */
  #keep(_done: Promise<unknown> | undefined): void {}
}

const ABSENT = { kind: "absent" } as const;

function upstreamError(error: BackendError, isKept: boolean, retryAfterMs = RETRY_AFTER_MS): UpstreamError {
  return new UpstreamError(error.code, `the backend: ${error.message}`, Math.max(retryAfterMs, RETRY_AFTER_MS), isKept);
}
