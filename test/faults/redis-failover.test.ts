import { expect } from "bun:test";
import { EngineUnavailableError } from "../../src/engine/engine.ts";
import type { RedisEngineSettings } from "../../src/engine/redis/options.ts";
import { createRedisEngine } from "../../src/engine/redis/redis-engine.ts";
import { parseRedisUrl } from "../../src/engine/redis/redis-url.ts";
import { slotOf } from "../../src/engine/redis/slots.ts";
import { EngineCalls } from "../support/engine-calls.ts";
import { globPattern } from "../support/glob-pattern.ts";
import { needing } from "../support/needing.ts";
import { PlainEngine } from "../support/plain-engine.ts";
import { RedisCluster } from "../support/redis-cluster.ts";
import { RedisSentinels } from "../support/redis-sentinel.ts";
import { eventually } from "../support/until.ts";

const { afterEach, describe, test } = needing("redis-server");

const cleanups: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function openEngine(url: string, settings: Partial<RedisEngineSettings> = {}) {
  const engine = await createRedisEngine({ target: parseRedisUrl(url), ...settings });
  cleanups.push(() => engine.close());
  return new EngineCalls(engine);
}

async function startCluster(options: { replicas: boolean; isPartial?: boolean }) {
  const cluster = await RedisCluster.start(options);
  cleanups.push(() => cluster.stop());
  return cluster;
}

const KEYS = Array.from({ length: 60 }, (_, i) => `key:${i}`);

/** Writes rising numbers round and round until stopped; keeps what was acknowledged, and how every call ended. */
class Load {
  readonly acknowledged = new Map<string, number>();
  readonly errors: unknown[] = [];
  #isOver = false;
  readonly #writers: Promise<void>[];

  constructor(calls: EngineCalls) {
    this.#writers = [0, 1, 2].map((writer) =>
      this.#write(
        calls,
        KEYS.filter((_, i) => i % 3 === writer),
      ),
    );
  }

  async stop(): Promise<void> {
    this.#isOver = true;
    await Promise.all(this.#writers);
  }

  async #write(calls: EngineCalls, keys: readonly string[]): Promise<void> {
    for (let value = 1; !this.#isOver; value++) {
      for (const key of keys) {
        try {
          if ((await calls.put(key, String(value))) === "stored") this.acknowledged.set(key, value);
        } catch (error) {
          this.errors.push(error);
        }
      }
      await Bun.sleep(1);
    }
  }
}

async function expectAcknowledged(url: string, load: Load): Promise<void> {
  const fresh = await openEngine(url, { commandTimeoutMs: 60_000 });
  expect(load.acknowledged.size).toBe(KEYS.length);
  for (const [key, value] of load.acknowledged) {
    // A write that failed may have been executed all the same, so what is there may be newer.
    const stored = Number(await fresh.get(key));
    expect([key, stored >= value]).toEqual([key, true]);
  }
}

describe("a cluster", () => {
  test.each([
    ["without", false],
    ["with", true],
  ])(
    "that moves a slot under load costs no error and no write, %s versions",
    async (_, versioned) => {
      const cluster = await startCluster({ replicas: false });
      // A call that is redirected has its time for the whole way, and a busy machine needs some of it.
      const calls = await openEngine(cluster.url, { commandTimeoutMs: 20_000, versioned });
      const load = new Load(calls);
      const [first, second] = cluster.nodes;
      if (first === undefined || second === undefined) throw new Error("no nodes");
      for (const key of KEYS.slice(0, 6)) {
        const slot = slotOf(key);
        const owner = await cluster.ownerOf(slot, first);
        if (owner === undefined) throw new Error("no owner");
        await cluster.moveSlot(slot, owner, owner === first ? second : first);
      }
      await load.stop();
      expect(load.errors).toEqual([]);
      await expectAcknowledged(cluster.url, load);
      const pattern = globPattern("key:*");
      expect(await calls.engine.deleteMatching(pattern, calls.stamp())).toBe(KEYS.length);
    },
    300_000,
  );

  test("finds every key of a pattern while slots move", async () => {
    const cluster = await startCluster({ replicas: false });
    const calls = await openEngine(cluster.url, { commandTimeoutMs: 2000 });
    const [first, second] = cluster.nodes;
    if (first === undefined || second === undefined) throw new Error("no nodes");
    const keys = Array.from({ length: 300 }, (_, i) => `{tag${i % 10}}:${i}`);
    for (const key of keys) await calls.put(key, "1");
    let isOver = false;
    const move = async () => {
      for (let i = 0; i < 10; i++) {
        const slot = slotOf(`{tag${i}}`);
        const owner = await cluster.ownerOf(slot, first);
        if (owner !== undefined) await cluster.moveSlot(slot, owner, owner === first ? second : first);
      }
      isOver = true;
    };
    const moving = move();
    while (!isOver) {
      // While slots move in each of its passes it gives up, and says so.
      await calls.engine.deleteMatching(globPattern("*:*"), calls.stamp()).catch((error) => {
        expect(error).toBeInstanceOf(EngineUnavailableError);
      });
    }
    await moving;
    await calls.engine.deleteMatching(globPattern("*:*"), calls.stamp());
    for (const key of keys) expect([key, await calls.get(key)]).toEqual([key, null]);
  }, 300_000);

  test("that loses a primary costs errors until its replica took over, and no restart", async () => {
    const cluster = await startCluster({ replicas: true });
    const calls = await openEngine(cluster.url);
    const load = new Load(calls);
    await eventually(() => load.acknowledged.size === KEYS.length);
    const [primary, asked] = cluster.nodes;
    if (primary === undefined || asked === undefined) throw new Error("no nodes");
    await primary.kill();
    await eventually(async () => (await cluster.ownerOf(0, asked)) === cluster.nodes[3]);
    await eventually(() => calls.engine.health().status === "ok");
    await eventually(() =>
      Promise.all(KEYS.map((key) => calls.put(key, "999999"))).then(
        () => true,
        () => false,
      ),
    );
    await load.stop();
    expect(load.errors.every((error) => error instanceof EngineUnavailableError)).toBe(true);
    expect(load.errors.length).toBeGreaterThan(0);
  }, 300_000);

  test("that loses a primary by death or by hanging goes on with the other two", async () => {
    const cluster = await startCluster({ replicas: true, isPartial: true });
    const calls = await openEngine(cluster.url);
    const [first, second, third] = cluster.nodes;
    if (first === undefined || second === undefined || third === undefined) throw new Error("no nodes");
    for (const [lost, asked, slot] of [
      [first, second, 0],
      [third, second, 16383],
    ] as const) {
      const owners = await Promise.all(KEYS.map((key) => cluster.ownerOf(slotOf(key), asked)));
      const others = KEYS.filter((_, at) => owners[at] !== lost);
      const lostKeys = KEYS.filter((_, at) => owners[at] === lost);
      let isOver = false;
      const errors: unknown[] = [];
      const write = async () => {
        for (let value = 1; !isOver; value++) {
          for (const key of others) await calls.put(key, String(value)).catch((error: unknown) => errors.push(error));
          await Bun.sleep(1);
        }
      };
      const writing = write();
      if (lost === first) await lost.kill();
      else lost.freeze();
      const refused = await Promise.all(lostKeys.map((key) => calls.put(key, "1").catch((error: unknown) => error)));
      expect(refused.some((error) => error instanceof EngineUnavailableError)).toBe(true);
      // A part of the keys is away, and it is said which.
      await eventually(() => calls.engine.health().status === "degraded");
      expect(calls.engine.health().detail).toContain(`Redis at 127.0.0.1:${lost.port} is away`);
      await eventually(async () => (await cluster.ownerOf(slot, asked)) !== lost);
      await eventually(() => calls.engine.health().status === "ok");
      isOver = true;
      await writing;
      expect(errors).toEqual([]);
      for (const key of lostKeys) expect(await calls.put(key, "2")).toBe("stored");
    }
  }, 300_000);

  test("that gets another primary costs no error with the first command to it", async () => {
    const cluster = await startCluster({ replicas: false });
    const calls = await openEngine(cluster.url);
    for (const key of KEYS) await calls.put(key, "1");
    const [asked] = cluster.nodes;
    if (asked === undefined) throw new Error("no nodes");
    const added = await cluster.add();
    for (const key of KEYS.slice(0, 20)) {
      const slot = slotOf(key);
      const owner = await cluster.ownerOf(slot, asked);
      if (owner !== undefined) await cluster.moveSlot(slot, owner, added);
    }
    for (const key of KEYS) {
      expect(await calls.increment(key, 1)).toEqual({ kind: "incremented", value: 2 });
      expect(await calls.get(key)).toBe("2");
    }
    // The one that leaves: its slots go to another, and it ends.
    for (const key of KEYS.slice(0, 20)) await cluster.moveSlot(slotOf(key), added, asked);
    await added.kill();
    for (const key of KEYS) expect(await calls.increment(key, 1)).toEqual({ kind: "incremented", value: 3 });
  }, 300_000);

  test("whose replica is promoted by hand costs no error", async () => {
    const cluster = await startCluster({ replicas: true });
    const calls = await openEngine(cluster.url, { commandTimeoutMs: 2000 });
    const load = new Load(calls);
    await eventually(() => load.acknowledged.size === KEYS.length);
    const [, asked, , replica] = cluster.nodes;
    if (replica === undefined || asked === undefined) throw new Error("no nodes");
    await cluster.run(replica, "CLUSTER", "FAILOVER");
    await eventually(async () => (await cluster.ownerOf(0, asked)) === replica);
    await load.stop();
    expect(load.errors).toEqual([]);
    await expectAcknowledged(cluster.url, load);
  }, 300_000);
});

describe("Sentinel", () => {
  test("that answers nothing while a node connects, and goes on, leaves no node behind", async () => {
    const sentinels = await RedisSentinels.start();
    cleanups.push(() => sentinels.stop());
    const calls = await openEngine(sentinels.url);
    expect(await calls.put("k", "1")).toBe("stored");
    // The client is told of each switch, and drops the connection that it may just be making.
    for (let round = 0; round < 3; round++) {
      sentinels.freeze();
      sentinels.primary.freeze();
      await calls.put("k", "2").catch(() => null);
      await eventually(() => calls.engine.health().status === "unavailable");
      sentinels.thaw();
      sentinels.primary.thaw();
      await eventually(() => calls.engine.health().status === "ok");
    }
  }, 300_000);

  test("leads to the primary, and to its replica after a failover, without a restart", async () => {
    const sentinels = await RedisSentinels.start();
    cleanups.push(() => sentinels.stop());
    const calls = await openEngine(sentinels.url, { nearEngine: new PlainEngine(() => Date.now()) });
    expect(await calls.put("k", "1")).toBe("stored");
    expect(await (await openEngine(sentinels.primary.url)).get("k")).toBe("1");
    await sentinels.primary.kill();
    await expect(calls.put("k", "2")).rejects.toBeInstanceOf(EngineUnavailableError);
    await eventually(() => calls.engine.health().status === "unavailable");
    await eventually(() => calls.engine.health().status === "ok");
    expect(await calls.put("k", "2")).toBe("stored");
    expect(await calls.get("k")).toBe("2");
    expect(await (await openEngine(sentinels.replica.url)).get("k")).toBe("2");
    // The old primary comes back as a replica and changes nothing.
    await sentinels.primary.up();
    expect(await calls.put("k", "3")).toBe("stored");
    expect(await (await openEngine(sentinels.replica.url)).get("k")).toBe("3");
  }, 300_000);
});
