/** A hub with all that belongs to it in this process, on a backend in memory and a clock that a test moves. */

import { DatabaseStore } from "../../src/backend/database-store.ts";
import type { BackingStore } from "../../src/cache/backing-store.ts";
import { Cache } from "../../src/cache/cache.ts";
import type { CommitLog } from "../../src/cache/commit-log.ts";
import type { LateFills } from "../../src/cache/filler.ts";
import { KeyGate } from "../../src/cache/key-gate.ts";
import { RecentInvalidations } from "../../src/cache/recent-invalidations.ts";
import { RecentPuts } from "../../src/cache/recent-puts.ts";
import type { BackendConfig } from "../../src/config/config.ts";
import type { Engine } from "../../src/engine/engine.ts";
import { MemoryEngine } from "../../src/engine/memory/memory-engine.ts";
import { HybridClock } from "../../src/model/hybrid-clock.ts";
import { Hub } from "../../src/node/hub.ts";
import type { Outbox, OutboxOptions } from "../../src/outbox/outbox.ts";
import { keyOf, RecordingSink } from "./engine-io.ts";
import { FakeBackend } from "./fake-backend.ts";
import { type ManualScheduler, settled } from "./manual-scheduler.ts";
import { tempFolder } from "./temp-folder.ts";
import { openTestOutbox } from "./test-outbox.ts";

export const NODE_ID = 7;
export const WRITE_DELAY_MS = 100;
const MEMORY_BYTES = 4 * 1024 * 1024;

export interface TestHubOptions {
  readonly config?: Partial<BackendConfig>;
  readonly outbox?: Partial<OutboxOptions>;
  /** What the hub fills, in place of the engine. */
  readonly fills?: (engine: MemoryEngine) => Engine;
  /** As of an engine on a server. */
  readonly late?: LateFills;
  readonly stale?: (engine: MemoryEngine) => Engine;
}

export interface TestHub extends AsyncDisposable {
  readonly hub: Hub;
  readonly cache: Cache;
  /** A cache over the same engine, of another thread. */
  cacheWith(hub: CommitLog & BackingStore): Cache;
  readonly engine: Engine;
  readonly outbox: Outbox;
  readonly backend: FakeBackend;
  readonly scheduler: ManualScheduler;
  readonly versions: HybridClock;
  readonly log: string[];
  /** The text in the engine; null = none. */
  stored(key: string): string | null;
  /** Lets what waits reach the backend. */
  drained(): Promise<void>;
}

export function openTestHub(options: TestHubOptions = {}): TestHub {
  const folder = tempFolder();
  const opened = openTestOutbox(folder.path, options.outbox);
  const { outbox, scheduler } = opened;
  const nowMs = () => scheduler.nowMs();
  const makeEngine = () => MemoryEngine.create({ limitBytes: MEMORY_BYTES, threads: 1, versioned: true, clock: nowMs });
  const config: BackendConfig = { ...BACKEND_CONFIG, ...options.config };
  const engine = makeEngine();
  const versions = HybridClock.create(nowMs);
  const invalidations = RecentInvalidations.create();
  const backend = new FakeBackend();
  const log: string[] = [];
  const stale = config.staleIfErrorMs === 0 ? null : makeEngine();
  const part = new DatabaseStore({
    config,
    backend,
    inFlight: null,
    outbox,
    engine: options.fills?.(engine) ?? engine,
    ...(options.late === undefined ? {} : { late: options.late }),
    staleEngine: stale === null ? null : (options.stale?.(stale) ?? stale),
    invalidations,
    versions,
    nodeId: NODE_ID,
    scheduler,
    random: () => 0.5,
    log: (message) => log.push(message),
  });
  const hub = new Hub({
    outbox,
    backend: part,
    peers: null,
    writesThrough: config.writeMode === "through",
    scheduler,
    log: (message) => log.push(message),
  });
  hub.start();
  const traits = {
    deletes: config.deletes,
    tombstoneMs: config.timeoutMs + 5_000,
    refreshAheadMs: config.refreshAhead * config.fillTtlMs,
  };
  const shared = { traits, invalidations, recentPuts: RecentPuts.create(), gate: KeyGate.create() };
  const cacheWith = (hub: CommitLog & BackingStore) => {
    const link = { ...shared, commitLog: hub, backingStore: hub };
    return new Cache({ engine, versions, nowMs, defaultTtlMs: null, nodeId: NODE_ID, link });
  };
  return {
    hub,
    cache: cacheWith(hub),
    cacheWith,
    engine,
    outbox,
    backend,
    scheduler,
    versions,
    log,
    stored(key) {
      const sink = new RecordingSink();
      return engine.get(keyOf(key), sink) === true ? sink.target.toString() : null;
    },
    async drained() {
      await settled();
      await scheduler.advance(2 * WRITE_DELAY_MS);
    },
    async [Symbol.asyncDispose]() {
      await hub.stop();
      opened[Symbol.dispose]();
      folder[Symbol.dispose]();
    },
  };
}

const BACKEND_CONFIG: BackendConfig = {
  url: "fake:",
  table: "servcache_entries",
  readSql: null,
  writeSql: null,
  deleteSql: null,
  keys: [],
  deletes: false,
  batchPath: null,
  allowsHtml: false,
  caFile: null,
  timeoutMs: 1_000,
  writeTimeoutMs: 10_000,
  connections: 8,
  writeConnections: 2,
  fillTtlMs: 60_000,
  negativeTtlMs: 5_000,
  staleIfErrorMs: 0,
  staleMemoryBytes: null,
  refreshAhead: 0,
  writeMode: "behind",
  reloadsWrites: false,
  writeDelayMs: WRITE_DELAY_MS,
  writeBatchRows: 500,
  writeAttempts: 3,
};
