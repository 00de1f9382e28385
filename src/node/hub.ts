/**
 * What a node has once, in its main thread, behind all its caches: the outbox, the database, the peers.
 *
 * A mutation is kept in the outbox in one go, for all who have to get it: after that it is visible and may be answered,
 * whatever happens to the process.
 */

import { BACKEND } from "../backend/backend-rows.ts";
import type { DatabaseStore } from "../backend/database-store.ts";
import type { PendingPort } from "../cache/away-engine.ts";
import type { BackingStore, Loaded } from "../cache/backing-store.ts";
import type { CommitLog } from "../cache/commit-log.ts";
import type {
  DeadWrite,
  OperatorPort,
  PartHealth,
  PartState,
  PeerRequest,
  PeerResponse,
} from "../cache/operator-port.ts";
import { refusedKey, UpstreamError } from "../cache/upstream-error.ts";
import { type Completion, told } from "../model/completion.ts";
import { alone, type Mutation } from "../model/mutation.ts";
import type { Stamp } from "../model/stamp.ts";
import type { DeadLetters } from "../outbox/dead-letters.ts";
import type { OutboxRow } from "../outbox/entry.ts";
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
  rowsOf(mutation: Mutation): OutboxRow[];
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
  readonly scheduler: Scheduler;
  readonly log: (message: string) => void;
}

/** A mutation that waits for its commit. */
interface Waiting {
  readonly mutation: Mutation;
  readonly completion: Completion<void>;
}

/** From this share of the outbox' bound on, `/health` says so. */
const FULL_SHARE = 0.8;
const LETTERS_TOGETHER = 1_000;

export class Hub implements CommitLog, BackingStore, OperatorPort, PendingPort {
  readonly #options: HubOptions;
  readonly #healthLog: HealthLog;
  #stopped: Promise<void> | null = null;
  /** The commit that was begun last, and the mutations that wait for it. */
  #lastCommit: Promise<void> | null = null;
  #waiting: Waiting[] = [];

  constructor(options: HubOptions) {
    this.#options = options;
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

  commit(asked: Mutation, completion: Completion<void>): boolean {
    // What waits in the outbox may wait for long: not with all that the caller keeps beside the mutation.
    const mutation = alone(asked);
    const { backend, peers, writesThrough } = this.#options;
    const row = backend?.rowOf(mutation) ?? null;
    const refusal = row === null ? "" : (backend?.refusalOf(row.key) ?? "");
    if (refusal !== "") {
      queueMicrotask(() => completion.failed(refusedKey(refusal)));
      return false;
    }
    const rows = peers?.rowsOf(mutation) ?? [];
    if (row !== null && writesThrough && backend !== null) {
      void told(this.#writeThrough(backend, row, rows, mutation), completion);
      return false;
    }
    if (row !== null) rows.push(row);
    if (rows.length > 0) {
      this.#append(rows, { mutation, completion });
      return false;
    }
    const changed = backend?.changed(mutation);
    changed?.then(() => completion.done());
    return changed === undefined;
  }

  async keepPending(mutation: Mutation): Promise<void> {
    try {
      await this.#options.pending?.keep(mutation);
    } catch (error) {
      throw upstreamError(error);
    }
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

  async #writeThrough(
    backend: DatabaseStore,
    row: OutboxRow,
    peerRows: readonly OutboxRow[],
    mutation: Mutation,
  ): Promise<void> {
    try {
      // The database may carry it out at any time from now on: what was read before is not to be served after that.
      await backend.unload(row);
      await backend.writeThrough(row);
      // What the database refuses is not for the peers either.
      if (peerRows.length > 0) await this.#options.outbox.append(peerRows);
    } catch (error) {
      throw upstreamError(error);
    }
    await backend.changed(mutation);
  }

  /** Mutations that share a commit are told of it by one promise. */
  #append(rows: readonly OutboxRow[], waiting: Waiting): void {
    let committed: Promise<void>;
    try {
      committed = this.#options.outbox.append(rows);
    } catch (error) {
      queueMicrotask(() => waiting.completion.failed(upstreamError(error)));
      return;
    }
    if (this.#lastCommit === committed) {
      this.#waiting.push(waiting);
      return;
    }
    const together = [waiting];
    this.#lastCommit = committed;
    this.#waiting = together;
    committed.then(
      () => this.#tellCommitted(together),
      (error) => {
        for (const { completion } of together) completion.failed(upstreamError(error));
      },
    );
  }

  #tellCommitted(together: readonly Waiting[]): void {
    const { backend } = this.#options;
    for (const { mutation, completion } of together) {
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

function upstreamError(error: unknown): unknown {
  if (!(error instanceof OutboxFullError)) return error;
  return new UpstreamError("ERR_OUTBOX_FULL", error.message, error.retryAfterMs, false);
}
