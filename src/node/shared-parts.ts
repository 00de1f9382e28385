/** What exists once per node and is seen by all its threads: made by the main thread, handed over as worker data. */

import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { PendingFlags } from "../cache/away-engine.ts";
import type { LinkTraits } from "../cache/commit-log.ts";
import { KeyGate } from "../cache/key-gate.ts";
import { RecentInvalidations } from "../cache/recent-invalidations.ts";
import { RecentPuts } from "../cache/recent-puts.ts";
import type { Config, RedisConfig } from "../config/config.ts";
import { MIN_ENTRY_BYTES } from "../config/memory-division.ts";
import type { Engine } from "../engine/engine.ts";
import { MemoryEngine, type MemoryHandle } from "../engine/memory/memory-engine.ts";
import { makeOutages } from "../engine/redis/breaker.ts";
import { makeCounters } from "../engine/redis/counters.ts";
import { RedisConfigError } from "../engine/redis/errors.ts";
import { makeNearEpochs } from "../engine/redis/near-epochs.ts";
import type { RedisTls } from "../engine/redis/options.ts";
import { createRedisEngine } from "../engine/redis/redis-engine.ts";
import { parseRedisUrl, type RedisTarget } from "../engine/redis/redis-url.ts";
import { HybridClock } from "../model/hybrid-clock.ts";
import { ByteBudget, type ByteBudgetHandle } from "../runtime/byte-budget.ts";
import { messageOf } from "../runtime/error-message.ts";
import { makeTelemetry, type TelemetryHandle } from "../telemetry/node-telemetry.ts";
import type { Tracer } from "../telemetry/trace/tracer.ts";
import { NodeError } from "./errors.ts";
import { Readiness } from "./readiness.ts";

/** What values that are kept after their TTL get of the memory, where nothing else is said. */
const STALE_SHARE = 0.2;

/** Structured-cloneable. */
export interface SharedParts {
  /** What all threads count. */
  readonly telemetry: TelemetryHandle;
  /** Different for each node that runs. */
  readonly instanceId: string;
  /** The state of the clock that stamps mutations. */
  readonly versions: SharedArrayBuffer;
  readonly startedMs: number;
  /** The entries; null = they are in Redis. */
  readonly memory: MemoryHandle | null;
  /** Null = the entries are in `memory`. */
  readonly redis: SharedRedis | null;
  /** What bodies, answers, databases and peers may hold at one time. */
  readonly inFlight: ByteBudgetHandle;
  /** Whether writes wait for Redis (`PendingFlags`). */
  readonly pending: SharedArrayBuffer;
  /** The pattern deletes and clears of the last minutes. */
  readonly invalidations: SharedArrayBuffer;
  /** What peers of the original's kind have put a moment ago. */
  readonly recentPuts: SharedArrayBuffer;
  /** See `Readiness`. */
  readonly readiness: SharedArrayBuffer;
  /** See `KeyGate`. */
  readonly keyGate: SharedArrayBuffer;
  /** What the caches need to know of what is behind them; null = there is nothing. */
  readonly link: LinkParts | null;
}

export interface LinkParts extends LinkTraits {
  /** There is a backend. */
  readonly loads: boolean;
  /** The id of this node. */
  readonly nodeId: number;
}

interface SharedRedis {
  readonly target: RedisTarget;
  readonly tls: RedisTls;
  readonly near: MemoryHandle | null;
  readonly nearEpochs: SharedArrayBuffer;
  readonly counters: SharedArrayBuffer;
  readonly outages: SharedArrayBuffer;
}

/** Makes the parts for a node of `threads` threads, the calling one counted. Throws `NodeError`. */
export function makeSharedParts(config: Config, threads: number, link: LinkParts | null): SharedParts {
  const memoryOf = (limitBytes: number, versioned: boolean) =>
    MemoryEngine.create({ limitBytes, threads, versioned, clock: Date.now }).handle;
  const { redis } = config;
  return {
    telemetry: makeTelemetry(threads),
    instanceId: randomUUID(),
    versions: HybridClock.create(Date.now).buffer,
    startedMs: Date.now(),
    // Late mutations come only from a database or from peers.
    memory: redis === null ? memoryOf(config.memory.entryBytes - staleBytesOf(config), link !== null) : null,
    redis:
      redis === null
        ? null
        : {
            target: targetOf(redis),
            tls: tlsOf(redis),
            near: redis.nearCacheBytes === null ? null : memoryOf(redis.nearCacheBytes, false),
            nearEpochs: makeNearEpochs(),
            counters: makeCounters(threads),
            outages: makeOutages(),
          },
    inFlight: ByteBudget.create(config.memory.inFlightBytes).handle,
    pending: new PendingFlags().buffer,
    invalidations: RecentInvalidations.create().buffer,
    recentPuts: RecentPuts.create().buffer,
    readiness: new Readiness().buffer,
    keyGate: KeyGate.create().buffer,
    link,
  };
}

/** The memory for values that are kept after their TTL: a part of the entries'. Throws `NodeError`. */
export function staleBytesOf({ backend, memory: { entryBytes } }: Config): number {
  if (backend === null || backend.staleIfErrorMs === 0) return 0;
  const bytes = backend.staleMemoryBytes ?? Math.floor(entryBytes * STALE_SHARE);
  if (bytes >= MIN_ENTRY_BYTES && entryBytes - bytes >= MIN_ENTRY_BYTES) return bytes;
  throw new NodeError(
    `SERV_CACHE_STALE_MEMORY (${bytes} bytes) is a part of SERV_CACHE_ENTRY_MEMORY (${entryBytes} bytes): ` +
      "set them so that either part has 4MiB at least",
  );
}

/** Opens a thread's engine on the shared parts; `thread` is its number, 0 for the main thread. */
export async function openEngine(
  config: Config,
  shared: SharedParts,
  thread: number,
  { log, tracer }: { readonly log: (message: string) => void; readonly tracer: Tracer | null },
): Promise<Engine> {
  const attach = (handle: MemoryHandle) => MemoryEngine.attach(handle, thread, { clock: Date.now });
  const { redis, memory } = shared;
  if (redis === null || config.redis === null) {
    if (memory === null) throw new Error("a node without Redis and without memory");
    return attach(memory);
  }
  return createRedisEngine({
    target: redis.target,
    tls: redis.tls,
    prefix: config.redis.prefix,
    versioned: shared.link !== null,
    connectTimeoutMs: config.redis.connectTimeoutMs,
    commandTimeoutMs: config.redis.commandTimeoutMs,
    staleIfErrorMs: config.redis.staleIfErrorMs,
    outages: redis.outages,
    nearEngine: redis.near === null ? null : attach(redis.near),
    nearEpochs: redis.nearEpochs,
    counters: redis.counters,
    thread,
    sentinelUsername: config.redis.sentinelUser,
    sentinelPassword: config.redis.sentinelPassword,
    log,
    tracer,
  });
}

/** The background work of the node's memories, for the one thread that does it: gives ms until it wants the next call. */
export function maintenanceOf(shared: SharedParts, more: readonly MemoryEngine[] = []): () => number {
  const memories = [shared.memory, shared.redis?.near ?? null]
    .filter((handle) => handle !== null)
    .map((handle) => MemoryEngine.attach(handle, 0, { clock: Date.now }));
  const all = [...memories, ...more];
  return () => Math.min(60_000, ...all.map((memory) => memory.maintain()));
}

function targetOf({ url }: RedisConfig): RedisTarget {
  try {
    return parseRedisUrl(url);
  } catch (cause) {
    if (cause instanceof RedisConfigError) throw new NodeError(cause.message, { cause });
    throw cause;
  }
}

function tlsOf(redis: RedisConfig): RedisTls {
  return {
    ca: pemText("SERV_CACHE_REDIS_CA", redis.caFile),
    cert: pemText("SERV_CACHE_REDIS_CERT", redis.certFile),
    key: pemText("SERV_CACHE_REDIS_KEY", redis.keyFile),
    serverName: redis.serverName,
    verify: redis.tlsVerify,
  };
}

/** Throws `NodeError` where the file can't be read. */
export function pemText(variable: string, path: string | null): string | null {
  if (path === null) return null;
  try {
    return readFileSync(path, "utf8");
  } catch (cause) {
    const reason = messageOf(cause);
    throw new NodeError(`${variable} is ${JSON.stringify(path)}, expected a PEM file that can be read: ${reason}`, {
      cause,
    });
  }
}
