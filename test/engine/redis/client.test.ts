import { expect } from "bun:test";
import { RedisClient } from "../../../src/engine/redis/client.ts";
import { withDefaults } from "../../../src/engine/redis/options.ts";
import { parseRedisUrl } from "../../../src/engine/redis/redis-url.ts";
import { needing } from "../../support/needing.ts";
import { RedisServer } from "../../support/redis-server.ts";
import { eventually } from "../../support/until.ts";

const { test } = needing("redis-server");

test("a connection that its library has given up for good is made anew", async () => {
  const server = await RedisServer.start();
  const client = new RedisClient(withDefaults({ target: parseRedisUrl(server.url), commandTimeoutMs: 5000 }));
  try {
    await client.opened();
    const [given] = client.primaries();
    // As its own detector of failovers does where it meets a connection that is being made.
    given?.disconnect();
    await eventually(() => given?.status === "end");
    await eventually(() =>
      client.probe("").then(
        () => true,
        () => false,
      ),
    );
    expect(await client.send("ping", [])).toBeDefined();
  } finally {
    await client.close();
    await server.stop();
  }
});
