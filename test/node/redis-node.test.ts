import { expect } from "bun:test";
import { Redis } from "ioredis";
import { needing } from "../support/needing.ts";
import { RedisServer } from "../support/redis-server.ts";
import { endServed, runMain, serve } from "../support/serve.ts";

const { afterAll, afterEach, beforeAll, describe, test } = needing("redis-server");

let redis: RedisServer;
beforeAll(async () => {
  redis = await RedisServer.start();
});
afterAll(() => redis.stop());
afterEach(endServed);

async function json(port: number, path: string, init: RequestInit = {}) {
  const answer = await fetch(`http://127.0.0.1:${port}${path}`, { ...init, headers: { Connection: "close" } });
  return JSON.parse(await answer.text());
}

describe("a node on Redis", () => {
  test("serves from several threads what is in Redis, near cache or not, and counts once", async () => {
    const flags = [
      "--addr",
      "127.0.0.1:0",
      "--workers",
      "2",
      "--redis-prefix",
      "app:",
      "--near-cache",
      "16MiB",
      "--redis-command-timeout=1m",
    ];
    const node = await serve(flags, { REDIS_URL: redis.url });
    expect(node.readyLine).toContain("engine redis");
    const body = '{"key":"a","value":{"x":1.0}}';
    expect(await json(node.port, "/api/cache", { method: "POST", body })).toEqual({ status: "success" });
    const client = new Redis(redis.url);
    // Behind it stands, in white space, which write it was.
    expect((await client.get("app:a"))?.trimEnd()).toBe('{"x":1.0}');
    client.disconnect();
    const reads = await Promise.all(Array.from({ length: 20 }, () => json(node.port, "/api/cache/a")));
    expect(reads).toEqual(reads.map(() => ({ key: "a", value: { x: 1 } })));
    const stats = await Promise.all(Array.from({ length: 8 }, () => json(node.port, "/api/stats")));
    expect(stats.map(({ hits, sets }) => [hits, sets])).toEqual(stats.map(() => [20, 1]));
    expect(await json(node.port, "/api/cache?pattern=*", { method: "DELETE" })).toMatchObject({ deleted: 1 });
    node.signal("SIGTERM");
    expect((await node.finished()).exitCode).toBe(0);
  });

  test("does not start where the URL or a file can't be used", async () => {
    const badUrl = await runMain(["serve", "--addr", "127.0.0.1:0"], { REDIS_URL: "redis://h:x" });
    expect([badUrl.exitCode, badUrl.stderr]).toEqual([
      1,
      expect.stringContaining('REDIS_URL "redis://h:x" can\'t be used'),
    ]);
    const env = { REDIS_URL: redis.url, SERV_CACHE_REDIS_CA: "/nowhere/ca.pem" };
    const badFile = await runMain(["serve", "--addr", "127.0.0.1:0"], env);
    expect([badFile.exitCode, badFile.stderr.split("\n").length]).toEqual([1, 2]);
    expect(badFile.stderr).toContain('SERV_CACHE_REDIS_CA is "/nowhere/ca.pem", expected a PEM file');
  });
});
