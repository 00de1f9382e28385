import { RedisClient } from "../../../src/engine/redis/client.ts";
import { Names } from "../../../src/engine/redis/names.ts";
import { withDefaults } from "../../../src/engine/redis/options.ts";
import { parseRedisUrl } from "../../../src/engine/redis/redis-url.ts";
import { RemoteEngine } from "../../../src/engine/redis/remote-engine.ts";
import { testEngine } from "../../contract/engine-contract.ts";
import { needing } from "../../support/needing.ts";
import { RedisServer } from "../../support/redis-server.ts";
import { eventually } from "../../support/until.ts";

needing("redis-server").describe.each([
  ["", false],
  ["app[1]*:", false],
  ["", true],
  ["{app}:", true],
] as const)("prefix and versions: %p, %p", (prefix, versioned) => {
  testEngine({
    name: `RemoteEngine with prefix "${prefix}" ${versioned ? "with" : "without"} versions`,
    async create() {
      const server = await RedisServer.start();
      const options = withDefaults({ target: parseRedisUrl(server.url), prefix, versioned });
      const client = new RedisClient(options);
      const engine = new RemoteEngine(client, new Names(prefix, () => client.isCluster), options);
      await eventually(() =>
        client.probe("").then(
          () => true,
          () => false,
        ),
      );
      return {
        engine,
        versioned,
        nowMs: () => Date.now(),
        advanceMs: (ms: number) => Bun.sleep(ms),
        expiryToleranceMs: 30,
        async close() {
          await engine.close();
          await server.stop();
        },
      };
    },
  });
});
