import type { RedisEngineSettings } from "../../../src/engine/redis/options.ts";
import { createRedisEngine } from "../../../src/engine/redis/redis-engine.ts";
import { parseRedisUrl } from "../../../src/engine/redis/redis-url.ts";
import { testEngine } from "../../contract/engine-contract.ts";
import { withLateGets } from "../../support/late-gets.ts";
import { needing } from "../../support/needing.ts";
import { PlainEngine } from "../../support/plain-engine.ts";
import { RedisCluster } from "../../support/redis-cluster.ts";
import { RedisServer } from "../../support/redis-server.ts";

const wallClock = () => Date.now();

interface Variant {
  readonly name: string;
  readonly start: () => Promise<{ url: string; stop(): Promise<void> }>;
  readonly settings: Partial<RedisEngineSettings>;
  /** Gets go by `getLater`. */
  readonly getsLate?: boolean;
}

const startServer = () => RedisServer.start();
const startCluster = () => RedisCluster.start({ replicas: false });

const VARIANTS: readonly Variant[] = [
  { name: "one server", start: startServer, settings: {} },
  {
    name: "one server, gets without promises",
    start: startServer,
    settings: {},
    getsLate: true,
  },
  {
    name: "one server, gets without promises, versions, prefix",
    start: startServer,
    settings: { versioned: true, prefix: "p:" },
    getsLate: true,
  },
  { name: "one server, near cache", start: startServer, settings: { nearEngine: new PlainEngine(wallClock) } },
  {
    name: "one server, near cache, versions, prefix",
    start: startServer,
    settings: { nearEngine: new PlainEngine(wallClock), versioned: true, prefix: "p:" },
  },
  { name: "a cluster", start: startCluster, settings: {} },
  { name: "a cluster, versions", start: startCluster, settings: { versioned: true, prefix: "p:" } },
  { name: "a cluster, near cache", start: startCluster, settings: { nearEngine: new PlainEngine(wallClock) } },
];

needing("redis-server").describe.each(VARIANTS)("The Redis engine on $name", ({ start, settings, getsLate }) => {
  testEngine({
    name: "as an engine",
    async create() {
      const servers = await start();
      // Of the tests' machine, several servers share a core: a pause of one is no outage here.
      const engine = await createRedisEngine({
        target: parseRedisUrl(servers.url),
        commandTimeoutMs: 5000,
        ...settings,
      });
      return {
        engine: getsLate ? withLateGets(engine) : engine,
        versioned: settings.versioned ?? false,
        nowMs: wallClock,
        advanceMs: (ms: number) => Bun.sleep(ms),
        expiryToleranceMs: 30,
        async close() {
          await engine.close();
          await servers.stop();
        },
      };
    },
  });
});
