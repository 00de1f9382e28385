/** Wires the rooms of one HTTP thread: cache, REST surface and connections on an engine. */

import manifest from "../../package.json";
import type { PendingPort } from "../cache/away-engine.ts";
import { AwayEngine, PendingFlags } from "../cache/away-engine.ts";
import type { BackingStore } from "../cache/backing-store.ts";
import { Cache } from "../cache/cache.ts";
import type { CommitLog } from "../cache/commit-log.ts";
import { KeyGate } from "../cache/key-gate.ts";
import type { OperatorPort } from "../cache/operator-port.ts";
import { RecentInvalidations } from "../cache/recent-invalidations.ts";
import { RecentPuts } from "../cache/recent-puts.ts";
import { isLoopback } from "../config/address.ts";
import type { Config, PeersConfig } from "../config/config.ts";
import type { Engine } from "../engine/engine.ts";
import { admitsBody } from "../http/rest/admission.ts";
import { createApi } from "../http/rest/api.ts";
import { type HttpServer, startHttpServer } from "../http/transport/server.ts";
import { HybridClock } from "../model/hybrid-clock.ts";
import { PeerAuthenticator } from "../replication/peer-authenticator.ts";
import { hostOf } from "../replication/replication.ts";
import { ByteBudget } from "../runtime/byte-budget.ts";
import { systemScheduler } from "../runtime/scheduler.ts";
import { LoopWatch } from "../telemetry/loop-watch.ts";
import type { ThreadTelemetry } from "../telemetry/node-telemetry.ts";
import { HeapKeeper, OWN_HEAP } from "./heap-keeper.ts";
import { addressesOf } from "./open-hub.ts";
import { Readiness } from "./readiness.ts";
import type { SharedParts } from "./shared-parts.ts";

export interface ListenerOptions {
  /** What this thread counts and traces; null = nothing. */
  readonly telemetry: ThreadTelemetry | null;
  readonly hostname: string;
  readonly port: number;
  /** The port is shared with the listeners of other threads. */
  readonly reusePort: boolean;
  /** Null = nothing is behind the cache. */
  readonly upstream: (CommitLog & BackingStore & OperatorPort & PendingPort) | null;
  /** A bug: the handler threw. The client has got a 500 with the same trace id. */
  readonly onError: (error: unknown, traceId: string) => void;
}

const RESOLVE_EVERY_MS = 30_000;

/** What a thread's connections can be told to do. */
export type Listener = Pick<HttpServer, "port" | "drain" | "stop">;

/** Listens, on one thread. Throws `ListenError`. */
export function startListener(config: Config, shared: SharedParts, engine: Engine, options: ListenerOptions): Listener {
  const { upstream, telemetry } = options;
  const cache = cacheOf(config, shared, engine, upstream);
  const door = config.peers === null ? null : watchDoor(config.peers);
  const inFlight = ByteBudget.attach(shared.inFlight);
  const readiness = new Readiness(shared.readiness);
  const handler = createApi({
    cache,
    inFlight,
    nowMs: Date.now,
    startedMs: shared.startedMs,
    version: manifest.version,
    isReady: () => readiness.isReady,
    upstream,
    telemetry,
    peerGate: door?.gate ?? null,
    tellsMaxAge: config.httpMaxAge,
    metricsBuckets: config.telemetry.metricsBuckets,
  });
  const server = startHttpServer({
    ...options,
    handler,
    admits: admitsBody(door?.gate ?? null),
    budget: inFlight,
    refusesOtherSites: isLoopback(config.address),
    limits: { connections: config.maxConnections, idleTimeoutMs: config.idleTimeoutMs },
    clock: systemScheduler,
  });
  const watch = telemetry === null ? null : watchLoop(telemetry, server);
  const keeper = new HeapKeeper(OWN_HEAP, config.memory.limitBytes);
  return {
    port: server.port,
    drain: (graceMs) => server.drain(graceMs),
    stop: () => {
      keeper.stop();
      door?.stop();
      watch?.stop();
      server.stop();
    },
  };
}

function watchLoop({ requests }: ThreadTelemetry, server: HttpServer): LoopWatch {
  return new LoopWatch({
    counts: requests,
    monotonicMs: () => performance.now(),
    onLook: () => requests.setConnections(server.connections),
  });
}

function cacheOf(config: Config, shared: SharedParts, given: Engine, upstream: ListenerOptions["upstream"]): Cache {
  const { link: traits } = shared;
  const options = {
    versions: HybridClock.attach(shared.versions, Date.now),
    nowMs: Date.now,
    defaultTtlMs: config.defaultTtlMs,
    nodeId: traits?.nodeId ?? 0,
  };
  if (upstream === null || traits === null) return new Cache({ ...options, engine: given, link: null });
  const invalidations = RecentInvalidations.attach(shared.invalidations);
  const pending = new PendingFlags(shared.pending);
  const backingStore = traits.loads ? upstream : null;
  const engine =
    config.redis === null
      ? given
      : new AwayEngine({ engine: given, backingStore, waiting: upstream, invalidations, pending, nowMs: Date.now });
  const recentPuts = RecentPuts.attach(shared.recentPuts);
  const gate = KeyGate.attach(shared.keyGate);
  const link = { traits, commitLog: upstream, backingStore, invalidations, recentPuts, gate };
  return new Cache({ ...options, engine, link });
}

/** Tells peers from others; what their names stand for is looked up again and again. */
function watchDoor({ urls, token }: PeersConfig): { readonly gate: PeerAuthenticator; stop(): void } {
  const gate = new PeerAuthenticator({ token, hosts: urls.map(hostOf), resolve: addressesOf });
  void gate.refresh();
  const timer = setInterval(() => void gate.refresh(), RESOLVE_EVERY_MS);
  timer.unref();
  return { gate, stop: () => clearInterval(timer) };
}
