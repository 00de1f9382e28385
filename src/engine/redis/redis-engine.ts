import type { Engine } from "../engine.ts";
import { RedisClient } from "./client.ts";
import { Counters, makeCounters } from "./counters.ts";
import { RedisConfigError } from "./errors.ts";
import { Names } from "./names.ts";
import { NearEngine } from "./near-engine.ts";
import { type RedisEngineOptions, type RedisEngineSettings, withDefaults } from "./options.ts";
import { OutageStore } from "./outage-store.ts";
import { RemoteEngine } from "./remote-engine.ts";
import { ResilientEngine } from "./resilient-engine.ts";

/**
 * The engine on Redis or Valkey: `ResilientEngine` decides whether Redis is asked at all, `NearEngine` (where there is
 * a near cache) whether it needs to be, `RemoteEngine` asks. One per thread: each has its own connections.
 *
 * Resolves when Redis answers, or after the connect timeout: then the engine starts as in an outage.
 * Throws `RedisConfigError`.
 */
export async function createRedisEngine(settings: RedisEngineSettings): Promise<Engine> {
  const options = withDefaults(settings);
  let client: RedisClient | null = null;
  const names = new Names(options.prefix, () => client?.isCluster ?? false);
  client = new RedisClient(options);
  const counters = new Counters(options.counters ?? makeCounters(1), options.counters === null ? 0 : options.thread);
  const remote = new RemoteEngine(client, names, options, counters);
  const connected = client;
  const redis =
    options.nearEngine === null ? remote : new NearEngine(remote, options.nearEngine, client, names, options);
  const engine = new ResilientEngine(redis, {
    ...options,
    substitute: substituteOf(options),
    probe: () => connected.probe(connected.isCluster ? names.probes() : []),
  });
  await client.opened();
  await engine.checkNow();
  return engine;
}

function substituteOf({ fallbackEngine, journalLimitBytes, clock, log }: RedisEngineOptions): OutageStore | null {
  if (fallbackEngine?.answersAtOnce === false) throw new RedisConfigError("the fallback engine must answer at once");
  return fallbackEngine === null ? null : new OutageStore({ memory: fallbackEngine, journalLimitBytes, clock, log });
}
