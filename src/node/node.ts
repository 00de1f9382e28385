/** The composition root: one running node made from a `Config`. */

import type { Config } from "../config/config.ts";
import { startListener } from "./compose.ts";
import { NodeError } from "./errors.ts";
import { startHttpThreads } from "./http-threads.ts";
import { checkAddress } from "./port-check.ts";
import { maintenanceOf, makeSharedParts, openEngine, type SharedParts } from "./shared-parts.ts";

export interface RunningNode {
  /** The port that it listens on, also where any free one was asked for. */
  readonly port: number;
  readonly engineName: string;
  /** Stops accepting and finishes what is under way; settles at the latest after `graceMs`. */
  drain(graceMs: number): Promise<void>;
  /** Ends everything at once. */
  stop(): Promise<void>;
}

export interface NodeOptions {
  /** The node can't go on after this: whoever started it must stop it or end the process. */
  readonly onFailure: (error: NodeError) => void;
  /** A request failed by a bug and was answered with a 500: the node goes on. */
  readonly onRequestFailed: (traceId: string, reason: string) => void;
}

interface Listeners {
  readonly port: number;
  drain(graceMs: number): Promise<void>;
  stop(): Promise<void> | void;
}

/** Starts a node; settles when it answers requests. Throws `NodeError`. */
export async function startNode(config: Config, options: NodeOptions): Promise<RunningNode> {
  const hostname = await checkAddress(config.address);
  const shared = makeSharedParts(config, config.workers === 1 ? 1 : config.workers + 1);
  const listeners =
    config.workers === 1
      ? await listenHere(config, shared, hostname, options)
      : await listenInThreads(config, shared, hostname, options);
  const maintenance = repeat(maintenanceOf(shared));
  return {
    port: listeners.port,
    engineName: config.redis === null ? "memory" : "redis",
    drain: (graceMs) => listeners.drain(graceMs),
    stop: async () => {
      maintenance.stop();
      await listeners.stop();
    },
  };
}

async function listenHere(
  config: Config,
  shared: SharedParts,
  hostname: string,
  options: NodeOptions,
): Promise<Listeners> {
  const engine = await openEngine(config, shared, 0);
  try {
    const listener = startListener(config, shared, engine, {
      hostname,
      port: config.address.port,
      reusePort: false,
      onError: (error, traceId) => options.onRequestFailed(traceId, String(error)),
    });
    const stop = (): Promise<void> => {
      listener.stop();
      return engine.close();
    };
    return { port: listener.port, drain: (graceMs) => listener.drain(graceMs), stop };
  } catch (cause) {
    await engine.close();
    // The address was free a moment ago: somebody else was quicker.
    throw new NodeError(cause instanceof Error ? cause.message : String(cause), { cause });
  }
}

function listenInThreads(
  config: Config,
  shared: SharedParts,
  hostname: string,
  options: NodeOptions,
): Promise<Listeners> {
  return startHttpThreads({
    script: new URL("./http-thread.ts", import.meta.url),
    count: config.workers,
    data: { config, shared, hostname, port: config.address.port },
    ...options,
  });
}

/** Calls background work whenever it wants to be called; if that is at once, after other work had its turn. */
function repeat(work: () => number): { stop(): void } {
  let stopped = false;
  let timer = setTimeout(run, 0);
  function run(): void {
    if (stopped) return;
    const delayMs = work();
    if (delayMs === 0) setImmediate(run);
    else timer = setTimeout(run, delayMs);
  }
  return {
    stop: () => {
      stopped = true;
      clearTimeout(timer);
    },
  };
}
