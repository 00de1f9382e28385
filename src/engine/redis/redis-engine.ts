import type { Key } from "../../model/key.ts";
import type { Engine } from "../engine.ts";
import { Breaker, makeOutages } from "./breaker.ts";
import { RedisClient } from "./client.ts";
import { Counters, makeCounters } from "./counters.ts";
import { GuardedEngine } from "./guarded-engine.ts";
import { Names } from "./names.ts";
import { NearCache } from "./near-cache.ts";
import { type RedisEngineSettings, withDefaults } from "./options.ts";
import { RemoteEngine } from "./remote-engine.ts";

/**
 * Opens the engine on Redis or Valkey: `GuardedEngine` decides whether Redis may be called, `NearCache` (if configured)
 * whether it needs to be, `RemoteEngine` calls it. Each thread has an engine with its own connections.
 *
 * Resolves when Redis answers, or after the connect timeout; then the engine starts as during an outage. Throws
 * `RedisConfigError`.
 */
export async function createRedisEngine(settings: RedisEngineSettings): Promise<Engine> {
  const options = withDefaults(settings);
  let client: RedisClient | null = null;
  const names = new Names(options.prefix, () => client?.isCluster ?? false);
  client = new RedisClient(options);
  const connected = client;
  const counters = new Counters(options.counters ?? makeCounters(1), options.counters === null ? 0 : options.thread);
  const remote = new RemoteEngine(client, names, options, counters);
  const near = options.nearEngine === null ? null : new NearCache(remote, options.nearEngine, client, names, options);
  const breaker = new Breaker(options.outages ?? makeOutages(), {
    ...options,
    monotonicMs: () => performance.now(),
    probe: (name) => connected.probe(name),
  });
  const engine = new GuardedEngine(remote, {
    ...options,
    breaker,
    near,
    serverOf: (key: Key) => (connected.isCluster ? connected.serverOf(names.ofEntry(key)) : ""),
    probeNameOf: (key: Key) => (connected.isCluster ? names.probeOf(names.ofEntry(key)) : ""),
    servers: () => connected.servers(),
  });
  await client.opened();
  try {
    await client.probe("");
  } catch (error) {
    breaker.open("", "", error);
  }
  // If it fails, counting starts with the first call of `stats`.
  await remote.startCounting().catch(() => {});
  return engine;
}
