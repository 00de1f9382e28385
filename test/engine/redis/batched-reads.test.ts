import { expect } from "bun:test";
import Redis from "ioredis";
import type { Engine } from "../../../src/engine/engine.ts";
import { createRedisEngine } from "../../../src/engine/redis/redis-engine.ts";
import { parseRedisUrl } from "../../../src/engine/redis/redis-url.ts";
import { CollectingSink, keyOf } from "../../support/collecting-sink.ts";
import { withLateGets } from "../../support/late-gets.ts";
import { needing } from "../../support/needing.ts";
import { RedisServer } from "../../support/redis-server.ts";

const { afterEach, describe, test } = needing("redis-server");

const closers: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

interface Started {
  readonly admin: Redis;
  readonly engine: Engine;
  readonly late: Engine;
}

/** @param rules of the engine's user, as `ACL SETUSER` takes them; without, it may do all */
async function start(rules: readonly string[] = []): Promise<Started> {
  const server = await RedisServer.start();
  const admin = new Redis(server.url);
  closers.push(
    () => server.stop(),
    async () => admin.disconnect(),
  );
  if (rules.length > 0) await admin.call("ACL", "SETUSER", "app", "on", ">secret", "~*", "&*", ...rules);
  const login = rules.length > 0 ? "app:secret@" : "";
  const url = server.url.replace("redis://", `redis://${login}`);
  const engine = await createRedisEngine({ target: parseRedisUrl(url), commandTimeoutMs: 5000 });
  closers.push(async () => engine.close());
  return { admin, engine, late: withLateGets(engine) };
}

/** What an engine says of each key, when it is asked for all of them in one turn. */
function readAll(engine: Engine, keys: readonly string[]) {
  return Promise.all(
    keys.map(async (key) => {
      const sink = new CollectingSink();
      const found = await engine.get(keyOf(key), sink);
      return found
        ? {
            value: sink.bytes.toString("latin1"),
            contentType: sink.info?.attributes.contentType,
            revision: sink.info?.revision,
          }
        : null;
    }),
  );
}

/** How often a command was called, by scripts or by clients. */
async function callsOf(admin: Redis, command: string): Promise<number> {
  const stats = await admin.info("commandstats");
  return Number(new RegExp(`cmdstat_${command}:calls=(\\d+)`).exec(stats)?.[1] ?? 0);
}

describe("reads that are sent together", () => {
  test("give the same as reads one by one, whatever the keys hold", async () => {
    const { admin, engine, late } = await start();
    await admin.set("text", '"plain"');
    await admin.set("number", 42);
    await admin.set("empty", "");
    await admin.set("bytes", Buffer.from([0xff, 0x00, 0xfe]));
    await admin.set("not-json", "hello");
    await admin.set("as-long-as-may-be", `"${"a".repeat(64 * 1024 - 2)}"`);
    await admin.set("too-long", `"${"b".repeat(64 * 1024 - 1)}"`);
    await admin.set("much-too-long", `"${"c".repeat(3_000_000)}"`);
    const keys = [
      ...["text", "absent", "number", "too-long", "empty", "bytes", "much-too-long"],
      ...["not-json", "as-long-as-may-be", "text"],
    ];
    const together = await readAll(late, keys);
    expect(together).toEqual(await readAll(engine, keys));
    expect(together.map((entry) => entry?.value.length ?? null)).toEqual([
      ...[7, null, 2, 64 * 1024 + 1, 2, 3, 3_000_002],
      ...[7, 64 * 1024, 7],
    ]);
  });

  test("go in one command, values and expiries", async () => {
    const { admin, late } = await start();
    const keys = Array.from({ length: 20 }, (_, index) => `key-${index}`);
    for (const key of keys) await admin.set(key, "1", "PX", 60_000);
    // The server learns the script.
    await readAll(late, keys);
    const before = [await callsOf(admin, "evalsha"), await callsOf(admin, "get")];
    const sentAtMs = Date.now();
    const sinks = keys.map(() => new CollectingSink());
    await Promise.all(keys.map((key, at) => late.get(keyOf(key), sinks[at] ?? new CollectingSink())));
    expect([await callsOf(admin, "evalsha"), await callsOf(admin, "get")]).toEqual([
      (before[0] ?? 0) + 1,
      before[1] ?? 0,
    ]);
    for (const { info } of sinks) {
      expect(info?.expiresAtMs).toBeGreaterThan(sentAtMs);
      expect(info?.expiresAtMs).toBeLessThanOrEqual(Date.now() + 60_000);
    }
  });

  test("go on after the server has forgotten the script", async () => {
    const { admin, late } = await start();
    await admin.set("key", "1");
    for (let round = 0; round < 3; round++) {
      expect(await readAll(late, ["key", "absent"])).toMatchObject([{ value: "1" }, null]);
      await admin.script("FLUSH");
    }
  });

  for (const [what, ...rules] of [
    ["run scripts", "+@all", "-@scripting"],
    ["load scripts", "+@all", "-script"],
    ["read a range", "+@all", "-getrange"],
    ["run scripts by their names", "+@all", "-evalsha"],
  ]) {
    test(`are sent one by one where the user may not ${what}`, async () => {
      const { admin, late } = await start(rules);
      await admin.set("key", "1");
      for (let round = 0; round < 3; round++) {
        expect(await readAll(late, ["key", "absent", "key"])).toMatchObject([{ value: "1" }, null, { value: "1" }]);
      }
    });
  }

  test("fail where the user may not read, and say so", async () => {
    const { late } = await start(["+@all", "-get", "-getrange"]);
    await expect(readAll(late, ["key", "absent"])).rejects.toThrow("permission");
  });
});
