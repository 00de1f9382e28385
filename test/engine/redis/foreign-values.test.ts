import { expect } from "bun:test";
import Redis from "ioredis";
import { createRedisEngine } from "../../../src/engine/redis/redis-engine.ts";
import { parseRedisUrl } from "../../../src/engine/redis/redis-url.ts";
import { Glob } from "../../../src/model/glob.ts";
import { EngineCalls } from "../../support/engine-calls.ts";
import { withLateGets } from "../../support/late-gets.ts";
import { needing } from "../../support/needing.ts";
import { RedisCluster } from "../../support/redis-cluster.ts";
import { RedisServer } from "../../support/redis-server.ts";

const { afterEach, describe, test } = needing("redis-server");

const closers: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

async function start({ versioned = false, late = false } = {}) {
  const server = await RedisServer.start();
  closers.push(() => server.stop());
  const admin = new Redis(server.url);
  closers.push(async () => admin.disconnect());
  const open = async () => {
    const engine = await createRedisEngine({ target: parseRedisUrl(server.url), commandTimeoutMs: 5000, versioned });
    closers.push(async () => engine.close());
    return new EngineCalls(late ? withLateGets(engine) : engine);
  };
  return { admin, open, calls: await open() };
}

const WAYS = [
  { versioned: false, late: false },
  { versioned: false, late: true },
  { versioned: true, late: false },
  { versioned: true, late: true },
];

describe.each(WAYS)("beside other programs (%j)", (way) => {
  test("a hash, a list and a set are no entries: what depends on their value is refused, and they stay", async () => {
    const { admin, calls } = await start(way);
    await admin.hset("hash", "f", "1");
    await admin.lpush("list", "1");
    await admin.sadd("set", "1");
    for (const key of ["hash", "list", "set"]) {
      await expect(calls.get(key)).rejects.toMatchObject({ code: "ERR_WRONG_TYPE" });
      await expect(calls.increment(key, 1)).rejects.toMatchObject({ code: "ERR_WRONG_TYPE" });
      await expect(calls.touch(key, Date.now() + 60_000)).rejects.toMatchObject({ code: "ERR_WRONG_TYPE" });
      expect(await admin.type(key)).toBe(key);
      expect(await admin.ttl(key)).toBe(-1);
      expect((await calls.engine.scan({ pattern: null, cursor: null, limit: 10 })).keys).toEqual([]);
    }
    expect(await calls.put("hash", "1")).toBe("stored");
    expect(await calls.get("hash")).toBe("1");
    expect(await calls.delete("list")).toBe("deleted");
    expect(await admin.exists("list")).toBe(0);
  });

  test("one read of another program's hash leaves those beside it alone", async () => {
    const { admin, calls } = await start(way);
    await admin.hset("hash", "f", "1");
    await calls.put("a", "1");
    await calls.put("b", "2");
    const read = await Promise.allSettled(["a", "hash", "b", "none"].map((key) => calls.get(key)));
    expect(read.map((one) => (one.status === "fulfilled" ? one.value : "refused"))).toEqual([
      "1",
      "refused",
      "2",
      null,
    ]);
  });

  test("keys that the API takes from nobody are not listed", async () => {
    const { admin, calls } = await start(way);
    await admin.set("a\u0000b", "1");
    await admin.set("a\u007fb", "1");
    await admin.set("a\u0085b", "1");
    await admin.set("x".repeat(1025), "1");
    await admin.set(Buffer.from([0x61, 0xff]), "1");
    await admin.set("", "1");
    await admin.set("x".repeat(1024), "1");
    await admin.set("\u00e9", "1");
    const { keys } = await calls.engine.scan({ pattern: null, cursor: null, limit: 100 });
    expect(keys.sort()).toEqual(["x".repeat(1024), "\u00e9"].sort());
  });
});

test("other programs read an entry as JSON, and a change of its expiry leaves their own texts as they are", async () => {
  const { admin, calls } = await start();
  await calls.put("ours", '{"a":[1, 2]}');
  expect(JSON.parse((await admin.get("ours")) ?? "")).toEqual({ a: [1, 2] });
  expect(await calls.increment("n", 5)).toEqual({ kind: "incremented", value: 5 });
  expect(JSON.parse((await admin.get("n")) ?? "")).toBe(5);
  await admin.set("theirs", "hello");
  expect(await calls.touch("theirs", Date.now() + 60_000)).toBe("touched");
  expect(await admin.get("theirs")).toBe("hello");
  expect(await admin.ttl("theirs")).toBeGreaterThan(0);
});

test("expirations count from the engine's start, not from the first question", async () => {
  const { admin, calls, open } = await start();
  await admin.set("before", "1", "PX", 1);
  while ((await admin.exists("before")) === 1);
  const later = await open();
  await admin.set("after", "1", "PX", 1);
  while ((await admin.exists("after")) === 1);
  expect(await later.engine.stats()).toMatchObject({ expirations: 1 });
  expect(await calls.engine.stats()).toMatchObject({ expirations: 2 });
});

test("a pattern delete says when slots never stop moving, because it may have missed keys", async () => {
  const cluster = await RedisCluster.start({ replicas: false });
  closers.push(() => cluster.stop());
  const [first, second] = cluster.nodes;
  if (first === undefined || second === undefined) throw new Error("the cluster has no nodes");
  const engine = await createRedisEngine({ target: parseRedisUrl(cluster.url), commandTimeoutMs: 5000 });
  closers.push(async () => engine.close());
  const calls = new EngineCalls(engine);
  await calls.put("a", "1");
  await cluster.run(first, "CLUSTER", "SETSLOT", 0, "MIGRATING", await cluster.idOf(second));
  const deleting = engine.deleteMatching(Glob.parse("a*"), calls.stamp());
  await expect(deleting).rejects.toMatchObject({
    code: "ERR_ENGINE_UNAVAILABLE",
    message: expect.stringContaining("slots of the Redis cluster moved"),
  });
  expect(engine.health().status).toBe("ok");
  await cluster.run(first, "CLUSTER", "SETSLOT", 0, "STABLE");
  expect(await engine.deleteMatching(Glob.parse("a*"), calls.stamp())).toBe(0);
});
