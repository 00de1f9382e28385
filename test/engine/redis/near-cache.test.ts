import { expect } from "bun:test";
import { Redis } from "ioredis";
import { makeNearEpochs } from "../../../src/engine/redis/near-epochs.ts";
import type { RedisEngineSettings } from "../../../src/engine/redis/options.ts";
import { createRedisEngine } from "../../../src/engine/redis/redis-engine.ts";
import { parseRedisUrl } from "../../../src/engine/redis/redis-url.ts";
import { HeadSink, keyOf } from "../../support/collecting-sink.ts";
import { EngineCalls } from "../../support/engine-calls.ts";
import { needing } from "../../support/needing.ts";
import { PlainEngine } from "../../support/plain-engine.ts";
import { RedisServer } from "../../support/redis-server.ts";
import { eventually } from "../../support/until.ts";

const { afterEach, describe, test } = needing("redis-server");

const cleanups: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

/** A pause of this machine is no outage here. */
const PATIENT = { commandTimeoutMs: 60_000 };

async function setUp(settings: Partial<RedisEngineSettings> = {}) {
  const server = await RedisServer.start();
  cleanups.push(() => server.stop());
  const near = new PlainEngine(() => Date.now());
  const engine = await createRedisEngine({
    target: parseRedisUrl(server.url),
    ...PATIENT,
    nearEngine: near,
    ...settings,
  });
  cleanups.push(() => engine.close());
  const other = new Redis({ port: server.port, retryStrategy: () => 20 });
  other.on("error", () => {});
  cleanups.push(async () => other.disconnect());
  const calls = new EngineCalls(engine);
  /** A hit in the near cache is the only one that is answered without a promise. */
  const isNear = (key: string) => engine.get(keyOf(key), new HeadSink()) === true;
  const warm = (key: string) => eventually(async () => (await calls.get(key)) !== null && isNear(key));
  /** Redis tells of a change before it answers what comes after it; this thread reads it within a few turns. */
  const heard = async () => {
    await other.ping();
    for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve));
  };
  return { server, near, engine, other, calls, isNear, warm, heard };
}

async function expired(other: Redis): Promise<void> {
  await other.pexpire("k", 1);
  await eventually(async () => (await other.exists("k")) === 0);
}

describe("the near cache", () => {
  test("answers the second read without Redis, with the same facts", async () => {
    const { calls, other, warm } = await setUp();
    await calls.put("k", "text", { contentType: "text/plain", expiresAtMs: Date.now() + 60_000 });
    const fromRedis = (await calls.find("k"))?.info;
    await warm("k");
    const before = Number(/total_commands_processed:(\d+)/.exec(await other.info("stats"))?.[1]);
    const found = await calls.find("k");
    const after = Number(/total_commands_processed:(\d+)/.exec(await other.info("stats"))?.[1]);
    expect(found?.bytes.toString()).toBe("text");
    expect(found?.info).toMatchObject({
      attributes: { contentType: "text/plain" },
      revision: fromRedis?.revision,
      stamp: fromRedis?.stamp,
    });
    // The INFO itself, and perhaps the link's sign of life.
    expect(after - before).toBeLessThanOrEqual(2);
  });

  test("forgets, before Redis answers the next command, what another program changes, deletes, lets expire or flushes", async () => {
    const { calls, other, warm, heard } = await setUp();
    const changes: [string, () => Promise<unknown>, string | null][] = [
      ["set", () => other.set("k", "2"), "2"],
      ["del", () => other.del("k"), null],
      ["unlink", () => other.unlink("k"), null],
      ["pexpire", () => expired(other), null],
      ["rename", () => other.rename("k", "l"), null],
      ["append", () => other.append("k", "5"), "15"],
      ["flushdb", () => other.flushdb(), null],
    ];
    for (const [name, change, expected] of changes) {
      await other.set("k", "1");
      await warm("k");
      expect(await calls.get("k")).toBe("1");
      await change();
      await heard();
      expect([name, await calls.get("k")]).toEqual([name, expected]);
    }
  });

  test("hears only of its own prefix, and finds its keys under it", async () => {
    const { calls, other, warm, isNear, heard } = await setUp({ prefix: "app:" });
    await other.set("app:k", "1");
    await warm("k");
    await other.set("k", "9");
    await other.set("app:k", "2");
    await heard();
    expect(isNear("k")).toBe(false);
    expect(await calls.get("k")).toBe("2");
  });

  test("never holds an entry past its expiry in Redis", async () => {
    const { calls, other, isNear } = await setUp();
    await eventually(async () => {
      // A busy machine may not come to read it in its time: again, then.
      if ((await other.exists("k")) === 0) await other.set("k", "1", "PX", 500);
      return (await calls.get("k")) !== null && isNear("k");
    });
    await eventually(async () => (await other.exists("k")) === 0);
    expect(await calls.get("k")).toBeNull();
  });

  test("reads what this node wrote, from the moment of the answer", async () => {
    const { calls, warm } = await setUp();
    for (let i = 0; i < 200; i++) {
      await calls.put("k", String(i));
      expect(await calls.get("k")).toBe(String(i));
      if (i % 20 === 0) await warm("k");
    }
    await calls.delete("k");
    expect(await calls.get("k")).toBeNull();
  });

  test("never goes back to an older value under concurrent writes and reads", async () => {
    const { calls, other } = await setUp();
    await other.set("k", "0");
    let newest = 0;
    let isOver = false;
    const reader = async () => {
      let last = 0;
      while (!isOver) {
        const value = Number(await calls.get("k"));
        expect(value).toBeGreaterThanOrEqual(last);
        last = value;
        await Bun.sleep(0);
      }
      return last;
    };
    const readers = Array.from({ length: 8 }, reader);
    for (let i = 1; i <= 1500; i++) {
      await other.set("k", String(i));
      newest = i;
      if (i % 10 === 0) await Bun.sleep(1);
    }
    await eventually(async () => (await calls.get("k")) === String(newest));
    isOver = true;
    await Promise.all(readers);
  }, 300_000);

  test("is emptied and bypassed while the invalidation link is lost, and used again after", async () => {
    const { calls, other, warm, isNear, heard } = await setUp();
    await other.set("k", "1");
    await warm("k");
    const clients = await other.call("CLIENT", ["LIST", "TYPE", "pubsub"]);
    const [, id = ""] = /id=(\d+)/.exec(String(clients)) ?? [];
    await other.client("KILL", "ID", id);
    await eventually(() => !isNear("k"));
    await other.set("k", "2");
    expect(await calls.get("k")).toBe("2");
    await warm("k");
    await other.set("k", "3");
    await heard();
    expect(isNear("k")).toBe(false);
    expect(await calls.get("k")).toBe("3");
  });

  test("that two threads share answers neither with what the other has replaced", async () => {
    const nearEpochs = makeNearEpochs();
    const { server, near, calls } = await setUp({ nearEpochs });
    const second = await createRedisEngine({
      target: parseRedisUrl(server.url),
      ...PATIENT,
      nearEngine: near,
      nearEpochs,
    });
    cleanups.push(() => second.close());
    const others = new EngineCalls(second, 1_000_000);
    let isOver = false;
    const read = async () => {
      while (!isOver) {
        await Promise.all([calls.get("k"), others.get("k")]);
        await Bun.sleep(0);
      }
    };
    const readers = [read(), read(), read()];
    for (let i = 0; i < 400; i++) {
      const [writer, reader] = i % 2 === 0 ? [calls, others] : [others, calls];
      await writer.put("k", String(i));
      expect(await reader.get("k")).toBe(String(i));
      if (i % 7 === 0) await Bun.sleep(1);
    }
    isOver = true;
    await Promise.all(readers);
  });

  test("is bypassed when the server hangs, and works again when it goes on", async () => {
    const { server, calls, other, warm, isNear } = await setUp({ commandTimeoutMs: 250 });
    await other.set("k", "1");
    await warm("k");
    server.freeze();
    await eventually(() => {
      try {
        return !isNear("k");
      } catch {
        return true;
      }
    });
    server.thaw();
    await eventually(() =>
      calls.get("k").then(
        (value) => value === "1",
        () => false,
      ),
    );
    await warm("k");
  }, 300_000);
});
