/** Makes the hub of a node as it is configured. */

import { randomInt } from "node:crypto";
import { lookup } from "node:dns/promises";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { BackendConfigError } from "../backend/backend.ts";
import { createBackend } from "../backend/create-backend.ts";
import { DatabaseStore } from "../backend/database-store.ts";
import { DAY_MS, TOLERANCE_MS } from "../backend/sql/ahead-rows.ts";
import { type BackendPlace, TracedBackend } from "../backend/traced-backend.ts";
import { PendingFlags } from "../cache/away-engine.ts";
import { committed } from "../cache/commit-log.ts";
import type { LateFills } from "../cache/filler.ts";
import { RecentInvalidations } from "../cache/recent-invalidations.ts";
import type { BackendConfig, Config, PeersConfig } from "../config/config.ts";
import type { Engine } from "../engine/engine.ts";
import { InvalidPatternError } from "../model/glob.ts";
import { HybridClock } from "../model/hybrid-clock.ts";
import type { Mutation, PutMutation } from "../model/mutation.ts";
import { MAX_NODE_ID } from "../model/stamp.ts";
import { DataDirectory } from "../outbox/data-directory.ts";
import { Outbox } from "../outbox/outbox.ts";
import { DataDirectoryInUseError, OutboxOpenError } from "../outbox/outbox-errors.ts";
import { HttpTransport } from "../replication/http-transport.ts";
import { NodeState } from "../replication/node-state.ts";
import { Replication } from "../replication/replication.ts";
import { TracedTransport } from "../replication/traced-transport.ts";
import { ByteBudget } from "../runtime/byte-budget.ts";
import { messageOf } from "../runtime/error-message.ts";
import { systemScheduler } from "../runtime/scheduler.ts";
import type { Tracer } from "../telemetry/trace/tracer.ts";
import { NodeError } from "./errors.ts";
import { Hub } from "./hub.ts";
import { PendingWrites } from "./pending-writes.ts";
import { Readiness } from "./readiness.ts";
import { type LinkParts, pemText, type SharedParts } from "./shared-parts.ts";

/** Longer than any load: what came before a delete has failed or is there by then. */
const TOMBSTONE_SLACK_MS = 5_000;

export interface OpenHubOptions {
  readonly config: Config;
  readonly shared: SharedParts;
  readonly link: LinkParts;
  readonly directory: DataDirectory;
  /** Of the main thread. */
  readonly engine: Engine;
  /** Keeps values after their TTL; null = none are kept. */
  readonly staleEngine: Engine | null;
  readonly log: (message: string) => void;
  /** Null = no spans are made. */
  readonly tracer: Tracer | null;
}

/** Whether there is anything behind the cache of a node. */
export function isLinked(config: Config): boolean {
  return config.backend !== null || config.peers !== null;
}

/** Makes or finds the data directory, and locks it. Throws `NodeError`. */
export function openDataDirectory(config: Config): DataDirectory {
  return asNodeError(() => DataDirectory.open(config.outbox.dataDirectory));
}

/** The id of this node: as configured, or made once and kept. Throws `NodeError`. */
export function nodeIdOf(config: Config, directory: DataDirectory): number {
  if (config.outbox.nodeId !== null) return config.outbox.nodeId;
  const path = directory.file("node-id");
  const kept = readIfThere(path);
  if (kept === null) {
    const made = randomInt(1, MAX_NODE_ID);
    try {
      writeFileSync(path, `${made}\n`);
    } catch (cause) {
      rmSync(path, { force: true });
      const message = messageOf(cause);
      throw new NodeError(`${path} can't be written: ${message}; make room on the disk of SERV_CACHE_DATA_DIR`, {
        cause,
      });
    }
    return made;
  }
  const id = /^\d{1,10}\n?$/.test(kept) ? Number(kept) : 0;
  if (id < 1 || id > MAX_NODE_ID) {
    throw new NodeError(
      `${path} holds no node id: set SERV_CACHE_NODE_ID to a number of this node's own, or remove it`,
    );
  }
  return id;
}

/** What the caches of a node need to know of what is behind them. */
export function linkOf({ backend, peers }: Config, nodeId: number): LinkParts {
  return {
    nodeId,
    loads: backend !== null,
    deletes: backend?.deletes === true && backend.writeMode !== "none",
    tombstoneMs: Math.max(backend === null ? 0 : backend.timeoutMs + TOMBSTONE_SLACK_MS, peers?.tombstoneMs ?? 0),
    refreshAheadMs: backend === null ? 0 : backend.fillTtlMs * backend.refreshAhead,
  };
}

/** Throws `NodeError`. */
export function openHub(options: OpenHubOptions): Hub {
  const { config, directory, shared, log } = options;
  return asNodeError(() => {
    const outbox = Outbox.open(directory, {
      sync: config.outbox.sync,
      limitPages: null,
      limitBytes: config.outbox.limitBytes,
      scheduler: systemScheduler,
      defer: (run) => setImmediate(run),
    });
    for (const warning of outbox.warnings) log(warning);
    // Where the clock was set back since, a write of now would look older than one of before the restart.
    HybridClock.attach(shared.versions, Date.now).observe(
      Math.max(outbox.newestVersion, new NodeState(outbox).seenVersion),
    );
    try {
      return hubOn(outbox, options);
    } catch (error) {
      outbox.close();
      throw error;
    }
  });
}

function hubOn(outbox: Outbox, options: OpenHubOptions): Hub {
  const { backend, peers } = options.config;
  const pending = options.config.redis === null ? null : pendingWrites(outbox, options, (put) => committed(hub, put));
  const database = backend === null ? null : backendPart(backend, outbox, pending, options);
  const hub = new Hub({
    outbox,
    ...(pending === null ? {} : { pending }),
    backend: database,
    peers: peers === null ? null : peersPart(peers, outbox, database, options),
    writesThrough: backend?.writeMode === "through",
    scheduler: systemScheduler,
    log: options.log,
  });
  return hub;
}

function pendingWrites(
  outbox: Outbox,
  { engine, shared, link }: OpenHubOptions,
  record: (put: PutMutation) => Promise<void>,
): PendingWrites {
  return new PendingWrites({
    outbox,
    engine,
    invalidations: RecentInvalidations.attach(shared.invalidations),
    flags: new PendingFlags(shared.pending),
    scheduler: systemScheduler,
    tombstoneMs: link.tombstoneMs,
    record,
  });
}

/** A fill that Redis does late, or its undoing that Redis does not hear, is kept from being read. */
function lateFills(pending: PendingWrites, { link, log }: OpenHubOptions): LateFills {
  return {
    untilMs: () => Date.now() + link.tombstoneMs,
    hides: (key, stamp) => pending.hides(key, stamp),
    keepGone: (key, stamp) =>
      pending
        .keep({ kind: "delete", key, stamp })
        .catch((error: unknown) => log(`an old value of ${key} may stay in Redis: ${String(error)}`)),
  };
}

function backendPart(
  config: BackendConfig,
  outbox: Outbox,
  pending: PendingWrites | null,
  options: OpenHubOptions,
): DatabaseStore {
  const { readSql, writeSql, deleteSql } = config;
  const backend = createBackend({
    url: config.url,
    table: config.table,
    userSql: readSql === null ? null : { read: readSql, write: writeSql, remove: deleteSql },
    tlsCa: pemText("SERV_CACHE_BACKEND_CA", config.caFile),
    loadConnections: config.connections,
    writeConnections: config.writeConnections,
    loadTimeoutMs: config.timeoutMs,
    writeTimeoutMs: config.writeTimeoutMs,
    sqlComments: options.config.telemetry.sqlComments,
    batchPath: config.batchPath,
    allowsHtml: config.allowsHtml,
    sessionsFile: options.directory.file("write-sessions"),
    aheadRows: {
      versions: HybridClock.attach(options.shared.versions, Date.now),
      nowMs: Date.now,
      // Peers may be ahead with good reason: their stamps are replicated, and have to win here as there.
      toleranceMs: options.config.peers === null ? TOLERANCE_MS : DAY_MS,
    },
  });
  const { shared, engine, staleEngine, link, log } = options;
  return new DatabaseStore({
    config,
    backend: new TracedBackend(backend, options.tracer, placeOf(config)),
    outbox,
    engine,
    ...(pending === null ? {} : { late: lateFills(pending, options) }),
    staleEngine,
    inFlight: ByteBudget.attach(shared.inFlight),
    invalidations: RecentInvalidations.attach(shared.invalidations),
    versions: HybridClock.attach(shared.versions, Date.now),
    nodeId: link.nodeId,
    scheduler: systemScheduler,
    random: Math.random,
    log,
  });
}

function peersPart(
  config: PeersConfig,
  outbox: Outbox,
  database: DatabaseStore | null,
  options: OpenHubOptions,
): Replication {
  const { urls, ...settings } = config;
  const { shared, engine, link, log } = options;
  return new Replication({
    ...settings,
    nodeId: link.nodeId,
    peers: urls,
    outbox,
    engine,
    clock: HybridClock.attach(shared.versions, Date.now),
    invalidations: RecentInvalidations.attach(shared.invalidations),
    scheduler: systemScheduler,
    random: Math.random,
    transport: new TracedTransport(new HttpTransport(), options.tracer),
    resolve: addressesOf,
    letOthersRun: () => new Promise((resolve) => setImmediate(resolve)),
    onApply: (mutation) => noteForeign(database, mutation),
    onReady: () => new Readiness(shared.readiness).serve(),
    log,
  });
}

/** A peer's mutation is for the cache what one of this node is: no load that began before it is cached. */
function noteForeign(database: DatabaseStore | null, mutation: Mutation): void {
  void database?.changed(mutation);
}

/** Addresses of a host; none where it can't be found now. */
export async function addressesOf(host: string): Promise<string[]> {
  return (await lookup(host, { all: true })).map(({ address }) => address);
}

/** What spans say of the database. */
function placeOf({ url, table, readSql }: BackendConfig): BackendPlace {
  const parsed = URL.canParse(url) ? new URL(url) : null;
  const isHttp = /^https?:/i.test(url);
  const isServer = parsed !== null && parsed.hostname !== "";
  return {
    address: isServer ? { host: parsed.hostname, port: parsed.port === "" ? null : Number(parsed.port) } : null,
    database: isServer && !isHttp ? parsed.pathname.slice(1) || null : null,
    table: isHttp || readSql !== null ? null : table,
  };
}

function readIfThere(path: string): string | null {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return null;
  }
}

function asNodeError<T>(work: () => T): T {
  try {
    return work();
  } catch (cause) {
    if (
      cause instanceof DataDirectoryInUseError ||
      cause instanceof OutboxOpenError ||
      cause instanceof BackendConfigError ||
      cause instanceof InvalidPatternError
    ) {
      throw new NodeError(cause.message, { cause });
    }
    throw cause;
  }
}
