import { expect } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import Redis from "ioredis";
import type { RedisEngineSettings } from "../../../src/engine/redis/options.ts";
import { createRedisEngine } from "../../../src/engine/redis/redis-engine.ts";
import { parseRedisUrl } from "../../../src/engine/redis/redis-url.ts";
import { Glob } from "../../../src/model/glob.ts";
import { EngineCalls } from "../../support/engine-calls.ts";
import { withLateGets } from "../../support/late-gets.ts";
import { needing } from "../../support/needing.ts";
import { PlainEngine } from "../../support/plain-engine.ts";
import { RedisCluster } from "../../support/redis-cluster.ts";
import { RedisServer } from "../../support/redis-server.ts";
import { eventually } from "../../support/until.ts";

const { afterEach, test } = needing("redis-server");

const guide = readFileSync(join(import.meta.dir, "..", "..", "..", "docs", "guide", "redis.md"), "utf8");
/** The line of the guide, as arguments. */
const [, rules = ""] = /^ACL (SETUSER servcache .*)$/m.exec(guide) ?? [];

const closers: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

async function startFor(
  nodes: readonly RedisServer[],
  more: readonly string[],
  settings: Partial<RedisEngineSettings>,
) {
  for (const node of nodes) {
    const admin = new Redis(node.url);
    await admin.call("ACL", rules.split(" ").concat(more));
    admin.disconnect();
  }
  const url = `redis://servcache:secret@127.0.0.1:${nodes[0]?.port}`;
  const target = parseRedisUrl(url);
  const engine = await createRedisEngine({ target, prefix: "app:", commandTimeoutMs: 5000, ...settings });
  closers.push(async () => engine.close());
  return new EngineCalls(withLateGets(engine));
}

async function startServer(): Promise<RedisServer[]> {
  const server = await RedisServer.start();
  closers.push(() => server.stop());
  return [server];
}

async function startCluster(): Promise<readonly RedisServer[]> {
  const cluster = await RedisCluster.start({ replicas: false });
  closers.push(() => cluster.stop());
  return cluster.nodes;
}

const nearEngine = () => new PlainEngine(() => Date.now());

const CASES: readonly [string, () => Promise<readonly RedisServer[]>, () => Partial<RedisEngineSettings>][] = [
  ["on a server", startServer, () => ({})],
  ["with versions", startServer, () => ({ versioned: true })],
  ["with a near cache", startServer, () => ({ nearEngine: nearEngine() })],
  ["on a cluster", startCluster, () => ({})],
  ["on a cluster, with versions and a near cache", startCluster, () => ({ versioned: true, nearEngine: nearEngine() })],
];

for (const [where, start, settings] of CASES) {
  test(`the user of the guide may do all that the engine needs ${where}`, async () => {
    const nodes = await start();
    const calls = await startFor(nodes, [], settings());
    expect(await calls.put("a:1", "1")).toBe("stored");
    expect(await calls.put("a:2", '"x"', { contentType: "text/plain", expiresAtMs: Date.now() + 60_000 })).toBe(
      "stored",
    );
    expect(await calls.get("a:1")).toBe("1");
    expect(await calls.get("a:3")).toBeNull();
    expect(await calls.increment("a:1", 4)).toEqual({ kind: "incremented", value: 5 });
    expect(await calls.touch("a:1", Date.now() + 60_000)).toBe("touched");
    expect(await calls.delete("a:2")).toBe("deleted");
    expect((await calls.engine.scan({ pattern: null, cursor: null, limit: 10 })).keys).toEqual(["a:1"]);
    expect(await calls.engine.deleteMatching(Glob.parse("a:*"), calls.stamp())).toBe(1);
    await calls.put("b", "2");
    expect(await calls.engine.clear(calls.stamp())).toBe(1);
    await calls.engine.stats();
    expect(calls.engine.health()).toMatchObject({ status: "ok" });
    // Refusals would show: of a script by an error, of the near cache's link by a cache that is never used.
    for (const node of nodes) {
      const admin = new Redis(node.url);
      expect(await admin.call("ACL", ["LOG"])).toEqual([]);
      admin.disconnect();
    }
  });
}

test("a user without scripts reads and writes plainly", async () => {
  const calls = await startFor(await startServer(), ["-@scripting"], {});
  expect(await calls.put("a", "1")).toBe("stored");
  expect(await calls.get("a")).toBe("1");
  expect(await calls.delete("a")).toBe("deleted");
});

test("a near cache is used by the user of the guide", async () => {
  const near = nearEngine();
  const calls = await startFor(await startServer(), [], { nearEngine: near });
  await calls.put("a", "1");
  await eventually(async () => {
    await calls.get("a");
    return (await new EngineCalls(near).get("a")) === "1";
  });
});
