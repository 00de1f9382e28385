/** The composition root: one running node made from a `Config`. */

import { existsSync, readFileSync } from "node:fs";
import { BackendConfigError } from "../backend/backend.ts";
import type { Config } from "../config/config.ts";
import type { Engine } from "../engine/engine.ts";
import { MemoryEngine } from "../engine/memory/memory-engine.ts";
import { surplusOf } from "../http/transport/server.ts";
import type { DataDirectory } from "../outbox/data-directory.ts";
import { messageOf } from "../runtime/error-message.ts";
import { LoopWatch } from "../telemetry/loop-watch.ts";
import type { ThreadTelemetry } from "../telemetry/node-telemetry.ts";
import { startListener } from "./compose.ts";
import { connectionsPerThread, descriptorLimit } from "./descriptor-limit.ts";
import { NodeError } from "./errors.ts";
import { exportMetrics } from "./export-metrics.ts";
import { HeapKeeper, OWN_HEAP } from "./heap-keeper.ts";
import { startHttpThreads } from "./http-threads.ts";
import type { Hub } from "./hub.ts";
import { isLinked, linkOf, nodeIdOf, openDataDirectory, openHub } from "./open-hub.ts";
import { checkAddress } from "./port-check.ts";
import { lockPort } from "./port-lock.ts";
import { Readiness } from "./readiness.ts";
import {
  type LinkParts,
  maintenanceOf,
  makeSharedParts,
  openEngine,
  type SharedParts,
  staleBytesOf,
} from "./shared-parts.ts";
import { openThreadTelemetry } from "./thread-telemetry.ts";

const LIMITS_FILE = "/proc/self/limits";

export interface RunningNode {
  /** The port that it listens on, also where any free one was asked for. */
  readonly port: number;
  readonly engineName: string;
  /**
   * Stops accepting and finishes what is under way, for `graceMs` at most; then writes what waits for the database and
   * the peers, for as long as the configuration says.
   */
  drain(graceMs: number): Promise<void>;
  /** Ends everything at once. */
  stop(): Promise<void>;
}

export interface NodeOptions {
  /** The node can't go on after this: whoever started it must stop it or end the process. */
  readonly onFailure: (error: NodeError) => void;
  /** A request failed by a bug and was answered with a 500: the node goes on. */
  readonly onRequestFailed: (traceId: string, reason: string) => void;
  /** Something that an operator should know. */
  readonly log: (message: string) => void;
}

interface Listeners {
  readonly port: number;
  drain(graceMs: number): Promise<void>;
}

/** Starts a node; settles when it answers requests. Throws `NodeError`. */
export async function startNode(given: Config, options: NodeOptions): Promise<RunningNode> {
  const unlock = await lockPort(given.address.port);
  try {
    return await startAlone(given, options);
  } finally {
    unlock();
  }
}

async function startAlone(given: Config, options: NodeOptions): Promise<RunningNode> {
  const config = withinDescriptors(given, options.log);
  const hostname = await checkAddress(config.address);
  const closing = new Closing();
  try {
    const link = isLinked(config) ? openLink(config, closing) : null;
    const shared = makeSharedParts(config, config.workers === 1 ? 1 : config.workers + 1, link?.parts ?? null);
    const readiness = new Readiness(shared.readiness);
    const opened = await openThreadTelemetry(config, shared, 0, { warn: options.log });
    closing.add(() => opened.close());
    const { telemetry } = opened;
    const place = { config, shared, hostname, options, closing, telemetry };
    const needsEngine = link !== null || config.workers === 1 || config.telemetry.otel.metrics !== null;
    const parts = { log: options.log, tracer: telemetry.tracer };
    const engine = needsEngine ? await openEngine(config, shared, 0, parts) : null;
    if (engine !== null) closing.add(() => engine.close());
    const stale = staleEngineOf(config);
    const hub = link === null || engine === null ? null : addHub(place, link, engine, stale);
    await hub?.tryOut().catch((cause: unknown) => {
      throw cause instanceof BackendConfigError ? new NodeError(cause.message, { cause }) : cause;
    });
    const listeners =
      config.workers === 1 && engine !== null ? listenHere(place, engine, hub) : await listenInThreads(place, hub);
    // Peers call back as soon as they hear of a node.
    hub?.start();
    // With peers, their entries may have to come first.
    if (config.peers === null) readiness.serve();
    if (engine !== null) {
      const { log } = options;
      const exporting = await exportMetrics({
        config,
        shared,
        engine,
        hub,
        isReady: () => readiness.isReady,
        log: { warn: log },
      });
      closing.add(() => exporting.close());
    }
    if (config.workers > 1) {
      closing.add(watchLoop(telemetry));
      const keeper = new HeapKeeper(OWN_HEAP, config.memory.limitBytes);
      closing.add(() => keeper.stop());
    }
    const maintenance = repeat(maintenanceOf(shared, stale === null ? [] : [stale]));
    closing.add(() => maintenance.stop());
    return {
      port: listeners.port,
      engineName: config.redis === null ? "memory" : "redis",
      drain: async (graceMs) => {
        readiness.drain();
        await listeners.drain(graceMs);
        await hub?.drain(config.outbox.drainTimeoutMs);
      },
      stop: () => closing.run(),
    };
  } catch (error) {
    await closing.run();
    throw error;
  }
}

/** Takes fewer connections where the system gives the process too few descriptors. */
function withinDescriptors(config: Config, log: NodeOptions["log"]): Config {
  const limit = descriptorLimit(existsSync(LIMITS_FILE) ? readFileSync(LIMITS_FILE, "utf8") : null);
  const maxConnections = connectionsPerThread(config.maxConnections, config.workers, limit, surplusOf);
  if (maxConnections < config.maxConnections / 2) {
    log(
      `the limit of ${limit} open files leaves ${maxConnections} connections for each HTTP thread, and ` +
        `SERV_CACHE_MAX_CONNECTIONS is ${config.maxConnections}: raise it with ulimit -n, or LimitNOFILE in systemd`,
    );
  }
  return { ...config, maxConnections };
}

/** What the steps of a start need. */
interface Place {
  readonly telemetry: ThreadTelemetry;
  readonly config: Config;
  readonly shared: SharedParts;
  readonly hostname: string;
  readonly options: NodeOptions;
  readonly closing: Closing;
}

interface Link {
  readonly directory: DataDirectory;
  readonly parts: LinkParts;
}

function openLink(config: Config, closing: Closing): Link {
  const directory = openDataDirectory(config);
  closing.add(() => directory[Symbol.dispose]());
  return { directory, parts: linkOf(config, nodeIdOf(config, directory)) };
}

function addHub(
  { config, shared, options, closing, telemetry }: Place,
  link: Link,
  engine: Engine,
  stale: Engine | null,
): Hub {
  const { directory, parts } = link;
  const hub = openHub({
    config,
    shared,
    directory,
    link: parts,
    engine,
    staleEngine: stale,
    log: options.log,
    tracer: telemetry.tracer,
  });
  closing.add(() => hub.stop());
  return hub;
}

function staleEngineOf(config: Config): MemoryEngine | null {
  const limitBytes = staleBytesOf(config);
  return limitBytes === 0 ? null : MemoryEngine.create({ limitBytes, threads: 1, clock: Date.now });
}

function listenHere(
  { config, shared, hostname, options, closing, telemetry }: Place,
  engine: Engine,
  hub: Hub | null,
): Listeners {
  try {
    const listener = startListener(config, shared, engine, {
      hostname,
      port: config.address.port,
      reusePort: false,
      telemetry,
      upstream: hub,
      onError: (error, traceId) => options.onRequestFailed(traceId, String(error)),
    });
    closing.add(() => listener.stop());
    return listener;
  } catch (cause) {
    // The address was free a moment ago: somebody else was quicker.
    throw new NodeError(messageOf(cause), { cause });
  }
}

async function listenInThreads(place: Place, hub: Hub | null): Promise<Listeners> {
  const { config, shared, hostname, options, closing } = place;
  const threads = await startHttpThreads({
    script: new URL("./http-thread.ts", import.meta.url),
    count: config.workers,
    data: { config, shared, hostname, port: config.address.port },
    hub,
    ...options,
  });
  closing.add(() => threads.stop());
  return threads;
}

/** What has to be closed, the last opened first. */
class Closing {
  readonly #steps: (() => Promise<void> | void)[] = [];

  add(step: () => Promise<void> | void): void {
    this.#steps.push(step);
  }

  async run(): Promise<void> {
    for (const step of this.#steps.splice(0).reverse()) await step();
  }
}

/** Of a main thread that has no listener of its own, whose watch it would be; gives what ends it. */
function watchLoop({ requests }: ThreadTelemetry): () => void {
  const watch = new LoopWatch({ counts: requests, monotonicMs: () => performance.now(), onLook: () => {} });
  return () => watch.stop();
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
