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

test("a connection to a server that hangs is given up within a command's time", async () => {
  const server = await RedisServer.start();
  const client = new RedisClient(withDefaults({ target: parseRedisUrl(server.url), commandTimeoutMs: 300 }));
  try {
    await client.opened();
    const [given] = client.primaries();
    // By default its library waits two seconds for such a server to close its side: the new primary is not asked so long.
    expect(given?.options.disconnectTimeout).toBe(300);
    server.freeze();
    given?.disconnect(true);
    await eventually(() => given?.status === "connecting" || given?.status === "connect");
    server.thaw();
    await eventually(() => given?.status === "ready");
    expect(await client.send("ping", [])).toBeDefined();
  } finally {
    await client.close();
    await server.stop();
  }
});
