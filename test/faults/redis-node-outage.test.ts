/** Whole nodes whose Redis hangs or dies: alone, and with a database behind. */
import { Database } from "bun:sqlite";
import { expect } from "bun:test";
import { join } from "node:path";
import { Redis } from "ioredis";
import { needing } from "../support/needing.ts";
import { callsOf, type NodeCalls } from "../support/node-calls.ts";
import { RedisServer } from "../support/redis-server.ts";
import { endServed, type ServedNode, serve } from "../support/serve.ts";
import { type TempFolder, tempFolder } from "../support/temp-folder.ts";
import { eventually } from "../support/until.ts";

const { afterEach, beforeEach, describe, test } = needing("redis-server");

const LONG_MS = 300_000;

let folder: TempFolder;
let redis: RedisServer;

beforeEach(async () => {
  folder = tempFolder();
  redis = await RedisServer.start();
});
afterEach(async () => {
  await endServed();
  await redis.stop();
  folder[Symbol.dispose]();
});

async function start(...flags: string[]): Promise<{ node: ServedNode; calls: NodeCalls }> {
  const node = await serve(["--addr=127.0.0.1:0", `--data-dir=${join(folder.path, "data")}`, ...flags], {
    REDIS_URL: redis.url,
    // A busy machine may keep Redis waiting, too: that is no outage.
    SERV_CACHE_REDIS_COMMAND_TIMEOUT: "1s",
    SERV_CACHE_WRITE_BEHIND_DELAY: "10ms",
  });
  return { node, calls: callsOf(node.port) };
}

const databaseFlag = () => `--backend-db=sqlite:${join(folder.path, "rows.db")}`;

function row(key: string): string | null {
  const database = new Database(join(folder.path, "rows.db"), { readonly: true });
  try {
    const found = database.query<{ value: Uint8Array | string }, [string]>(
      "SELECT value FROM servcache_entries WHERE key = ?",
    );
    const value = found.get(key)?.value;
    return value === undefined ? null : Buffer.from(value as string).toString();
  } finally {
    database.close();
  }
}

async function engineOf(calls: NodeCalls) {
  return (await calls.json("/health")).engine;
}

const KEYS = Array.from({ length: 20 }, (_, at) => `k${at}`);
const all = <T>(run: (key: string) => Promise<T>) => Promise.all(KEYS.map(run));

describe.each([1, 2])("a node of %d threads on Redis alone", (workers) => {
  test(
    "answers 503 while Redis hangs, never 404, and goes on when it answers; a stop drops nothing",
    async () => {
      const { node, calls } = await start(`--workers=${workers}`);
      await all((key) => calls.put(key, 1));
      redis.freeze();
      const first = await all((key) => calls.get(key));
      expect(first.map(({ status, code }) => [status, code])).toEqual(KEYS.map(() => [503, "ERR_ENGINE_UNAVAILABLE"]));
      await eventually(async () => (await engineOf(calls)).status === "unavailable");
      const answers = [...(await all((key) => calls.put(key, 2))), ...(await all((key) => calls.remove(key)))];
      for (const { status, code, headers, text } of answers) {
        expect([status, code, headers.get("retry-after")]).toEqual([503, "ERR_ENGINE_UNAVAILABLE", "1"]);
        expect(text).not.toContain("not known");
      }
      redis.thaw();
      await eventually(async () => (await engineOf(calls)).status === "ok");
      expect((await all((key) => calls.get(key))).map(({ text }) => JSON.parse(text).value)).toEqual(KEYS.map(() => 1));
      node.signal("SIGTERM");
      const { exitCode, stderr } = await node.finished();
      expect(exitCode).toBe(0);
      expect(stderr.match(/Redis is away/g)?.length).toBe(1);
      expect(stderr.match(/Redis is back/g)?.length).toBe(1);
    },
    LONG_MS,
  );

  test(
    "serves from its near cache, marked stale, what it may",
    async () => {
      const { calls } = await start(`--workers=${workers}`, "--near-cache=16MiB", "--stale-if-error=10m");
      await calls.put("hot", 1);
      const other = new Redis(redis.url);
      const readsOf = async () =>
        Number(/cmdstat_getrange:calls=(\d+)/.exec(await other.info("commandstats"))?.[1] ?? 0);
      // Each thread uses it when its own invalidation link is up: then no read reaches Redis.
      await eventually(async () => {
        const before = await readsOf();
        await Promise.all(Array.from({ length: 20 }, () => calls.get("hot")));
        return (await readsOf()) === before;
      });
      other.disconnect();
      await redis.kill();
      await calls.get("cold");
      await eventually(async () => (await engineOf(calls)).status === "unavailable");
      const hot = await calls.get("hot");
      expect([hot.status, hot.text]).toEqual([200, '{"key":"hot","value":1}']);
      expect(hot.headers.get("cache-status")).toContain("stale");
      expect((await calls.get("cold")).code).toBe("ERR_ENGINE_UNAVAILABLE");
    },
    LONG_MS,
  );
});

describe.each([1, 2])("a node of %d threads on Redis before a database", (workers) => {
  test(
    "acknowledges only what is true everywhere in the end, and refuses the rest with nothing changed",
    async () => {
      const { calls } = await start(`--workers=${workers}`, databaseFlag(), "--backend-delete=true");
      await all((key) => calls.put(key, 1));
      await eventually(() => KEYS.every((key) => row(key) === "1"));
      redis.freeze();
      // Recorded before it is known that Redis is away: in doubt there, and acknowledged.
      const doubtful = await all((key) => calls.put(key, 2));
      await eventually(async () => (await engineOf(calls)).status === "unavailable");
      const expected = doubtful.map(({ status }) => (status === 200 ? "2" : "1"));
      expect(expected).toContain("2");
      const refused = await all((key) => calls.put(key, 3));
      expect(refused.map(({ status, code }) => [status, code])).toEqual(
        KEYS.map(() => [503, "ERR_ENGINE_UNAVAILABLE"]),
      );
      expect((await calls.call("DELETE", "/api/cache?pattern=k*")).code).toBe("ERR_ENGINE_UNAVAILABLE");
      // Reads: what waits for Redis, and what the database has.
      const values = async () => (await all((key) => calls.get(key))).map(({ text }) => String(JSON.parse(text).value));
      expect(await values()).toEqual(expected);
      expect((await calls.get("absent")).code).toBe("ERR_ENGINE_UNAVAILABLE");
      redis.thaw();
      await eventually(async () => (await engineOf(calls)).status === "ok");
      expect(await values()).toEqual(expected);
      await eventually(async () => (await calls.json("/health")).pending.writes === 0);
      expect(await values()).toEqual(expected);
      const other = new Redis(redis.url);
      const inRedis = await Promise.all(KEYS.map(async (key) => (await other.getBuffer(key))?.subarray(15).toString()));
      other.disconnect();
      expect(inRedis).toEqual(expected);
      await eventually(() => KEYS.every((key, at) => row(key) === expected[at]));
    },
    LONG_MS,
  );

  test.each(["DELETE k*", "a clear", "DELETE"])(
    "reads nothing of a full Redis that a delete waits to remove there: %s",
    async (kind) => {
      const { calls } = await start(`--workers=${workers}`, databaseFlag(), "--backend-delete=true");
      await all((key) => calls.put(key, 1));
      await eventually(() => KEYS.every((key) => row(key) === "1"));
      const other = new Redis(redis.url);
      await other.config("SET", "maxmemory", "1");
      if (kind === "DELETE") await all((key) => calls.remove(key));
      else await calls.call("DELETE", `/api/cache${kind === "a clear" ? "" : "?pattern=k*"}`);
      await eventually(() => KEYS.every((key) => row(key) === null));
      expect((await all((key) => calls.get(key))).map(({ status }) => status)).toEqual(KEYS.map(() => 404));
      await other.config("SET", "maxmemory", "0");
      await eventually(async () => (await calls.json("/health")).pending.writes === 0);
      expect((await all((key) => calls.get(key))).map(({ status }) => status)).toEqual(KEYS.map(() => 404));
      expect((await other.keys("k*")).filter((key) => KEYS.includes(key))).toEqual([]);
      other.disconnect();
    },
    LONG_MS,
  );

  test(
    "keeps what waits for Redis through its end and start",
    async () => {
      const first = await start(`--workers=${workers}`, databaseFlag());
      await all((key) => first.calls.put(key, 1));
      redis.freeze();
      const doubtful = await all((key) => first.calls.put(key, 2));
      const expected = doubtful.map(({ status }) => (status === 200 ? 2 : 1));
      expect(expected).toContain(2);
      first.node.signal("SIGKILL");
      await first.node.finished();
      const second = await start(`--workers=${workers}`, databaseFlag());
      redis.thaw();
      await eventually(async () => (await engineOf(second.calls)).status === "ok");
      const values = async () => (await all((key) => second.calls.get(key))).map(({ text }) => JSON.parse(text).value);
      expect(await values()).toEqual(expected);
      await eventually(async () => (await second.calls.json("/health")).pending.writes === 0);
      expect(await values()).toEqual(expected);
    },
    LONG_MS,
  );
});
