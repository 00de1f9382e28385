/**
 * The seam between the node and the rooms below it: which engine, and which handler answers requests. Everything else
 * in this folder deals with threads, ports and signals only.
 */

import type { Config } from "../config/config.ts";
import { type HttpServer, MemoryEngine, type MemoryEngineHandle, startHttpServer } from "./stand-in.ts";

export type { HttpServer } from "./stand-in.ts";

/** What every thread of a node shares. Structured-cloneable: it is handed over as worker data. */
export interface SharedParts {
  readonly engine: MemoryEngineHandle;
}

/** The engine as the thread has it that owns the background work. */
export interface OwnedParts {
  readonly engineName: string;
  readonly shared: SharedParts;
  /** Background work that is due; gives ms until it wants the next call. */
  maintain(): number;
  close(): Promise<void>;
}

export interface ListenerOptions {
  readonly hostname: string;
  readonly port: number;
  /** The port is shared with the listeners of other threads. */
  readonly reusePort: boolean;
  /** A bug: the handler threw. The client has got a 500 with the same trace id. */
  readonly onError: (error: unknown, traceId: string) => void;
}

/** Makes what exists once per node. `threads` counts the calling one. */
export function createOwnedParts(config: Config, threads: number): OwnedParts & { readonly engine: MemoryEngine } {
  const engine = MemoryEngine.create({ limitBytes: config.maxMemoryBytes, threads, clock: Date.now });
  return {
    engine,
    engineName: engine.name,
    shared: { engine: engine.handle },
    maintain: () => engine.maintain(),
    close: () => engine.close(),
  };
}

/** The engine as another thread sees it; `thread` is from 1, the owner is 0. */
export function attachEngine(shared: SharedParts, thread: number): MemoryEngine {
  return MemoryEngine.attach(shared.engine, thread);
}

/** Wires handler and connection layer for one thread. */
export function startListener(config: Config, engine: MemoryEngine, options: ListenerOptions): Promise<HttpServer> {
  return startHttpServer({ ...options, engine, config });
}
