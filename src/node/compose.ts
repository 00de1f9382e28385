/**
 * The seam between the node and the rooms below it: which engine, and which handler answers requests. Everything else
 * in this folder deals with threads, ports and signals only.
 */

import { edenGC, fullGC, heapSize } from "bun:jsc";
import manifest from "../../package.json";
import { Cache } from "../cache/cache.ts";
import { HybridClock } from "../cache/hybrid-clock.ts";
import type { Config } from "../config/config.ts";
import type { Engine } from "../engine/engine.ts";
import { MemoryEngine, type MemoryHandle } from "../engine/memory/memory-engine.ts";
import { createApi } from "../http/api.ts";
import { type HttpServer, startHttpServer } from "../http/server.ts";
import { HeapKeeper } from "./heap-keeper.ts";

/** What every thread of a node shares. Structured-cloneable: it is handed over as worker data. */
export interface SharedParts {
  readonly memory: MemoryHandle;
  /** The state of the clock that stamps mutations. */
  readonly versions: SharedArrayBuffer;
  readonly startedMs: number;
}

/** One thread's view of the node's parts. */
export interface ThreadParts {
  readonly engine: Engine;
  readonly shared: SharedParts;
}

export interface ListenerOptions {
  readonly hostname: string;
  readonly port: number;
  /** The port is shared with the listeners of other threads. */
  readonly reusePort: boolean;
  /** A bug: the handler threw. The client has got a 500 with the same trace id. */
  readonly onError: (error: unknown, traceId: string) => void;
}

/** What a thread's connections can be told to do. */
export type Listener = Pick<HttpServer, "port" | "drain" | "stop">;

/** Makes what exists once per node. `threads` counts the calling one. */
export function createParts(config: Config, threads: number): ThreadParts {
  const engine = MemoryEngine.create({ limitBytes: config.maxMemoryBytes, threads, clock: Date.now });
  const versions = HybridClock.create(Date.now).buffer;
  return { engine, shared: { memory: engine.handle, versions, startedMs: Date.now() } };
}

/** The same parts as another thread sees them; `thread` is from 1, the maker is 0. */
export function attachParts(shared: SharedParts, thread: number): ThreadParts {
  return { engine: MemoryEngine.attach(shared.memory, thread, { clock: Date.now }), shared };
}

/** Wires cache, REST surface and connections for one thread. Throws `ListenError`. */
export function startListener(config: Config, parts: ThreadParts, options: ListenerOptions): Listener {
  let draining = false;
  const cache = new Cache({
    engine: parts.engine,
    versions: HybridClock.attach(parts.shared.versions, Date.now),
    nowMs: Date.now,
    defaultTtlMs: config.defaultTtlMs,
  });
  const handler = createApi({
    cache,
    nowMs: Date.now,
    startedMs: parts.shared.startedMs,
    version: manifest.version,
    isReady: () => !draining,
  });
  const server = startHttpServer({
    ...options,
    handler,
    limits: { connections: config.maxConnections, idleTimeoutMs: config.idleTimeoutMs },
    clock: { nowMs: Date.now },
  });
  const keeper = new HeapKeeper({ sizeBytes: heapSize, collectYoung: edenGC, collectAll: fullGC });
  return {
    port: server.port,
    drain: (graceMs) => {
      draining = true;
      return server.drain(graceMs);
    },
    stop: () => {
      keeper.stop();
      server.stop();
    },
  };
}
