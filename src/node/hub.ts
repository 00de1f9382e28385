/**
 * What a node has once, in its main thread, behind all its caches: the outbox, the database, the peers.
 *
 * A mutation is kept in the outbox in one go, for all who have to get it: after that it is visible and may be answered,
 * whatever happens to the process.
 */

import { BACKEND } from "../backend/backend-rows.ts";
import type { DatabaseStore } from "../backend/database-store.ts";
import {
  type DeadWrite,
  type Loaded,
  type PartHealth,
  type PartState,
  type PeerRequest,
  type PeerResponse,
  type PendingPort,
  refusedKey,
  type Upstream,
  type UpstreamAdmin,
  UpstreamError,
  type UpstreamTraits,
} from "../cache/upstream.ts";
import type { Completion } from "../model/completion.ts";
import type { Mutation } from "../model/mutation.ts";
import type { Stamp } from "../model/stamp.ts";
import type { DeadLetters } from "../outbox/dead-letters.ts";
import type { OutboxMutation } from "../outbox/entry.ts";
import type { Outbox } from "../outbox/outbox.ts";
import { OutboxFullError } from "../outbox/outbox-errors.ts";
import type { Scheduler } from "../runtime/scheduler.ts";
import type { MetricFamily } from "../telemetry/metric-family.ts";
import { HealthLog } from "./health-log.ts";
import { hubFamilies } from "./hub-metrics.ts";
import type { PendingWrites } from "./pending-writes.ts";

/** The peers of a node, as its hub sees them. */
export interface PeersPart {
  /** A request of a peer. */
  receive(request: PeerRequest): Promise<PeerResponse>;
  /** What the peers have to get of a mutation. */
  rowsOf(mutation: Mutation): OutboxMutation[];
  health(): PartState;
  stats(): Record<string, unknown>;
  metrics?(): readonly MetricFamily[];
  start(): void;
  drain(limitMs: number): Promise<number>;
  stop(): Promise<void>;
}

/** What a hub asks of its outbox. */
export type HubOutbox = Pick<
  Outbox,
  "append" | "stats" | "destinations" | "usedBytes" | "limitBytes" | "warnings" | "problem" | "close"
> & { readonly dead: Pick<DeadLetters, "list" | "retry" | "drop"> };

export interface HubOptions {
  readonly outbox: HubOutbox;
  readonly backend: DatabaseStore | null;
  readonly peers: PeersPart | null;
  /** What waits for the engine; left out where the engine is never away. */
  readonly pending?: PendingWrites;
  readonly writesThrough: boolean;
  readonly traits: UpstreamTraits;
  readonly scheduler: Scheduler;
  readonly log: (message: string) => void;
}

/** Who waits for the commit of a mutation. */
interface Listening {
  readonly mutation: Mutation;
  readonly completion: Completion<void>;
}

/** From this share of the outbox' bound on, `/health` says so. */
const FULL_SHARE = 0.8;
const LETTERS_TOGETHER = 1_000;

const NOTHING_TO_DO = Promise.resolve();

export class Hub implements Upstream, UpstreamAdmin, PendingPort {
  readonly loads: boolean;
  readonly deletes: boolean;
  readonly tombstoneMs: number;
  readonly refreshAheadMs: number;
  /** False where each mutation has to wait for an answer of its own. */
  readonly recordsTogether: boolean;
  readonly #options: HubOptions;
  readonly #healthLog: HealthLog;
  #stopped: Promise<void> | null = null;
  /** The commit that was waited for last, and the same with errors as they are for the cache. */
  #committed: Promise<void> | null = null;
  #answered = NOTHING_TO_DO;
  /** The commit that listeners wait for, and these. */
  #listenedTo: Promise<void> | null = null;
  #listeners: Listening[] = [];

  constructor(options: HubOptions) {
    this.#options = options;
    this.loads = options.traits.loads;
    this.deletes = options.traits.deletes;
    this.tombstoneMs = options.traits.tombstoneMs;
    this.refreshAheadMs = options.traits.refreshAheadMs;
    this.recordsTogether = !options.writesThrough;
    this.#healthLog = new HealthLog(options.scheduler, () => this.#parts(), options.log);
  }

  /** To be called before `start`. Throws `BackendConfigError` for SQL that the database does not take. */
  async tryOut(): Promise<void> {
    await this.#options.backend?.tryOut();
  }

  start(): void {
    this.#options.backend?.start();
    this.#options.peers?.start();
    this.#options.pending?.start();
    this.#healthLog.start();
  }

  record(mutation: Mutation): Promise<void> {
    return this.recordAll([mutation]);
  }

  recordLater(mutation: Mutation, completion: Completion<void>): boolean {
    const { backend, peers, writesThrough } = this.#options;
    if (writesThrough) {
      this.record(mutation).then(
        () => completion.done(),
        (error) => completion.failed(error),
      );
      return false;
    }
    const row = backend?.rowOf(mutation) ?? null;
    const refusal = row === null ? "" : (backend?.refusalOf(row.key) ?? "");
    if (refusal !== "") {
      queueMicrotask(() => completion.failed(refusedKey(refusal)));
      return false;
    }
    const rows = peers?.rowsOf(mutation) ?? [];
    if (row !== null) rows.push(row);
    if (rows.length > 0) {
      this.#appendLater(rows, { mutation, completion });
      return false;
    }
    const changed = backend?.changed(mutation);
    changed?.then(() => completion.done());
    return changed === undefined;
  }

  /** All of them are kept or none, where `recordsTogether`. */
  recordAll(mutations: readonly Mutation[]): Promise<void> {
    const { backend, peers, writesThrough } = this.#options;
    const rows: OutboxMutation[] = [];
    const through: Promise<void>[] = [];
    for (const mutation of mutations) {
      const row = backend?.rowOf(mutation) ?? null;
      const refusal = row === null ? "" : (backend?.refusalOf(row.key) ?? "");
      if (refusal !== "") return Promise.reject(refusedKey(refusal));
      const peerRows = peers?.rowsOf(mutation) ?? [];
      if (row !== null && writesThrough && backend !== null) {
        through.push(this.#writeThrough(backend, row, peerRows));
        continue;
      }
      if (row !== null) rows.push(row);
      for (const peerRow of peerRows) rows.push(peerRow);
    }
    const done =
      through.length === 0 ? this.#append(rows) : Promise.all([this.#append(rows), ...through]).then(() => {});
    return backend === null ? done : done.then(() => changedAll(backend, mutations));
  }

  keepPending(mutation: Mutation): Promise<void> {
    const { pending } = this.#options;
    return pending === undefined ? NOTHING_TO_DO : asUpstreamError(pending.keep(mutation));
  }

  async pendingOf(key: string): Promise<Mutation | null> {
    return this.#options.pending?.of(key) ?? null;
  }

  doubt(key: string, stamp: Stamp): void {
    this.#options.pending?.doubt(key, stamp);
  }

  async replicate(request: PeerRequest): Promise<PeerResponse | null> {
    return this.#options.peers?.receive(request) ?? null;
  }

  async load(key: string, traceContext?: string): Promise<Loaded> {
    return this.#options.backend?.load(key, traceContext) ?? { kind: "absent" };
  }

  refresh(key: string): void {
    this.#options.backend?.refresh(key);
  }

  health(): Record<string, PartHealth> {
    return this.#healthLog.look();
  }

  metrics(): readonly MetricFamily[] {
    return hubFamilies({ ...this.#options, health: this.health() });
  }

  stats(): Record<string, unknown> {
    const { backend, peers, outbox } = this.#options;
    return {
      ...(backend === null ? {} : { backend: backend.stats() }),
      ...(peers === null ? {} : { peers: peers.stats() }),
      outbox: {
        bytes: outbox.usedBytes,
        limit_bytes: outbox.limitBytes,
        queues: Object.fromEntries(outbox.destinations().map((name) => [name, queueStats(outbox, name)])),
      },
    };
  }

  async deadLetters(afterId: number, limit: number): Promise<readonly DeadWrite[]> {
    return this.#options.outbox.dead.list(BACKEND, afterId, limit).map((letter) => ({
      id: letter.id,
      key: letter.key,
      kind: letter.kind === "put" ? "put" : "delete",
      valueBytes: letter.valueBytes,
      contentType: letter.contentType,
      attempts: letter.attempts,
      reason: letter.reason,
      queuedAtMs: letter.queuedAtMs,
    }));
  }

  async retryDead(ids: readonly number[] | null): Promise<number> {
    const { dead } = this.#options.outbox;
    return this.#eachLetter(ids, (some) => dead.retry(BACKEND, some));
  }

  async dropDead(ids: readonly number[] | null): Promise<number> {
    const { dead } = this.#options.outbox;
    return this.#eachLetter(ids, (some) => dead.drop(BACKEND, some));
  }

  /** Brings out what waits for at most `limitMs`; what is left is kept for the next start, and said. */
  async drain(limitMs: number): Promise<void> {
    const { backend, peers, pending, log } = this.#options;
    const drains = [backend?.drain(limitMs) ?? 0, peers?.drain(limitMs) ?? 0, pending?.drain(limitMs) ?? 0];
    const [forBackend = 0, forPeers = 0, forEngine = 0] = await Promise.all(drains);
    if (forEngine > 0) log(`${counted(forEngine, "write")} not reached Redis: kept for the next start`);
    if (forBackend > 0) log(`${counted(forBackend, "write")} not reached the database: kept for the next start`);
    if (forPeers > 0) log(`${counted(forPeers, "mutation")} not reached all peers: kept for the next start`);
  }

  stop(): Promise<void> {
    this.#stopped ??= this.#stop();
    return this.#stopped;
  }

  async #stop(): Promise<void> {
    const { backend, peers, pending, outbox } = this.#options;
    this.#healthLog.stop();
    await Promise.all([backend?.stop(), peers?.stop(), pending?.stop()]);
    outbox.close();
  }

  async #writeThrough(backend: DatabaseStore, row: OutboxMutation, peerRows: readonly OutboxMutation[]): Promise<void> {
    // The database may carry it out at any time from now on: what was read before is not to be served after that.
    await backend.unload(row);
    await asUpstreamError(backend.writeThrough(row));
    // What the database refuses is not for the peers either.
    await this.#append(peerRows);
  }

  #append(rows: readonly OutboxMutation[]): Promise<void> {
    if (rows.length === 0) return NOTHING_TO_DO;
    let committed: Promise<void>;
    try {
      committed = this.#options.outbox.append(rows);
    } catch (error) {
      return asUpstreamError(Promise.reject(error));
    }
    // Those who share a commit share what becomes of it.
    if (this.#committed !== committed) {
      this.#committed = committed;
      this.#answered = asUpstreamError(committed);
    }
    return this.#answered;
  }

  /** Those who share a commit are told by one promise. */
  #appendLater(rows: readonly OutboxMutation[], listening: Listening): void {
    let committed: Promise<void>;
    try {
      committed = this.#options.outbox.append(rows);
    } catch (error) {
      queueMicrotask(() => listening.completion.failed(upstreamError(error)));
      return;
    }
    if (this.#listenedTo === committed) {
      this.#listeners.push(listening);
      return;
    }
    const listeners = [listening];
    this.#listenedTo = committed;
    this.#listeners = listeners;
    committed.then(
      () => this.#tellRecorded(listeners),
      (error) => {
        for (const { completion } of listeners) completion.failed(upstreamError(error));
      },
    );
  }

  #tellRecorded(listeners: readonly Listening[]): void {
    const { backend } = this.#options;
    for (const { mutation, completion } of listeners) {
      const changed = backend?.changed(mutation);
      if (changed === undefined) completion.done();
      else changed.then(() => completion.done());
    }
  }

  #eachLetter(ids: readonly number[] | null, work: (ids: readonly number[]) => number): number {
    if (ids !== null) return work(ids);
    let done = 0;
    let afterId = 0;
    for (;;) {
      const letters = this.#options.outbox.dead.list(BACKEND, afterId, LETTERS_TOGETHER);
      const last = letters.at(-1);
      if (last === undefined) return done;
      afterId = last.id;
      done += work(letters.map((letter) => letter.id));
    }
  }

  #parts(): Record<string, PartState> {
    const { backend, peers, pending, outbox } = this.#options;
    return {
      ...(pending === undefined ? {} : { pending: pending.health() }),
      ...(backend === null ? {} : { backend: backend.health() }),
      ...(peers === null ? {} : { peers: peers.health() }),
      outbox: outboxHealth(outbox),
    };
  }
}

async function changedAll(backend: DatabaseStore, mutations: readonly Mutation[]): Promise<void> {
  for (const mutation of mutations) {
    const changed = backend.changed(mutation);
    if (changed !== undefined) await changed;
  }
}

function counted(count: number, name: string): string {
  return count === 1 ? `1 ${name} has` : `${count} ${name}s have`;
}

function outboxHealth(outbox: HubOutbox): PartState {
  const share = outbox.usedBytes / outbox.limitBytes;
  const problems = [
    ...outbox.warnings,
    ...(outbox.problem === "" ? [] : [`writes are refused: ${outbox.problem}`]),
    ...(share < FULL_SHARE ? [] : [`${Math.floor(share * 100)} % full: beyond 100 % writes are refused`]),
  ];
  return {
    status: problems.length === 0 ? "ok" : "degraded",
    detail: problems.join("; "),
    facts: { bytes: outbox.usedBytes, limit_bytes: outbox.limitBytes },
  };
}

function queueStats(outbox: HubOutbox, destination: string): Record<string, number> {
  const { pending, dead, bytes, inFlight, oldestAgeMs } = outbox.stats(destination);
  return { pending, dead, bytes, in_flight: inFlight, oldest_age_ms: oldestAgeMs };
}

function asUpstreamError(work: Promise<void>): Promise<void> {
  return work.catch((error: unknown) => {
    throw upstreamError(error);
  });
}

function upstreamError(error: unknown): unknown {
  if (!(error instanceof OutboxFullError)) return error;
  return new UpstreamError("ERR_OUTBOX_FULL", error.message, error.retryAfterMs, false);
}
