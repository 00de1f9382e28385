import { describe, expect, test } from "bun:test";
import { RestNode } from "../../support/rest-node.ts";

/** Does two hits, four misses, five sets and three deletes; three entries stay, one of them expires after a second. */
async function use(node: RestNode): Promise<void> {
  await node.post("a", "1");
  await node.post("b", "1");
  await node.call("PUT", "/api/cache/c?ttl=1s", { body: "x" });
  await node.call("PATCH", "/api/cache/counter", { body: '{"increment":1}' });
  await node.get("a");
  await node.call("HEAD", "/api/cache/a");
  await node.get("absent");
  await node.call("HEAD", "/api/cache/absent");
  await node.call("DELETE", "/api/cache/b");
  await node.call("DELETE", "/api/cache/b");
  await node.call("DELETE", "/api/cache?pattern=counter");
  const operations =
    '[{"op":"set","key":"d","value":1},{"op":"get","key":"x"},{"op":"get","key":"y"},{"op":"delete","key":"d"}]';
  await node.call("POST", "/api/batch", { body: `{"operations":${operations}}` });
  await node.post("refused", "01");
  await node.call("PUT", "/api/cache/a", { headers: { "If-None-Match": "*" }, body: "1" });
}

const COUNTS = { hits: 2, misses: 4, sets: 5, deletes: 3, evictions: 0 };

describe("/api/stats", () => {
  test("of a node that nobody used is zeroes", async () => {
    using node = new RestNode({ limitBytes: 64 * 1024 * 1024 });
    const stats = (await node.call("GET", "/api/stats")).json();
    expect(stats).toEqual({
      engine: "memory",
      entries: 0,
      bytes: expect.any(Number),
      limit_bytes: 64 * 1024 * 1024,
      hits: 0,
      misses: 0,
      hit_ratio: null,
      sets: 0,
      deletes: 0,
      evictions: 0,
      expirations: 0,
      uptime_seconds: 0,
    });
  });

  test("counts what was done, and nothing that was refused", async () => {
    using node = new RestNode();
    await use(node);
    const before = (await node.call("GET", "/api/stats")).json();
    expect(before).toMatchObject({ ...COUNTS, entries: 2, expirations: 0, hit_ratio: 2 / 6 });
    node.clock.nowMs += 2_000;
    node.prune();
    expect((await node.call("GET", "/api/stats")).json()).toMatchObject({ ...COUNTS, entries: 1, expirations: 1 });
  });

  test("counts bytes that stay below the limit, and evictions that keep them there", async () => {
    using node = new RestNode({ limitBytes: 8 * 1024 * 1024 });
    const value = `"${"v".repeat(100_000)}"`;
    for (let number = 0; number < 200; number++) await node.post(`key:${number}`, value);
    const stats = (await node.call("GET", "/api/stats")).json();
    expect(stats.sets).toBe(200);
    expect(stats.entries + stats.evictions).toBe(200);
    expect(stats.evictions).toBeGreaterThan(100);
    expect(stats.bytes).toBeGreaterThan(stats.entries * 100_000);
    expect(stats.bytes).toBeLessThanOrEqual(stats.limit_bytes);
  });
});

describe("/metrics", () => {
  test("are Prometheus text, with the numbers of /api/stats", async () => {
    using node = new RestNode();
    await use(node);
    const stats = (await node.call("GET", "/api/stats")).json();
    const answer = await node.call("GET", "/metrics");
    expect([answer.status, answer.headers.get("content-type")]).toEqual([
      200,
      "text/plain; version=0.0.4; charset=utf-8",
    ]);
    const lines = answer.text.trimEnd().split("\n");
    const samples = lines.filter((line) => !line.startsWith("#")).map((line) => line.split(" "));
    expect(Object.fromEntries(samples)).toEqual({
      servcache_hits_total: "2",
      servcache_misses_total: "4",
      servcache_sets_total: "5",
      servcache_deletes_total: "3",
      servcache_evictions_total: "0",
      servcache_expirations_total: "0",
      servcache_entries: "2",
      servcache_memory_bytes: String(stats.bytes),
      servcache_memory_limit_bytes: String(stats.limit_bytes),
    });
    expect(answer.text.endsWith("\n")).toBe(true);
  });

  test("are each told with their type and meaning", async () => {
    using node = new RestNode();
    const { text } = await node.call("GET", "/metrics");
    const blocks = [...text.matchAll(/^# HELP (\S+) .+\.\n# TYPE (\S+) (counter|gauge)\n(\S+) \d+\n/gm)];
    expect(blocks.map(([block]) => block).join("")).toBe(text);
    for (const [, help, type, kind, name] of blocks) {
      expect([help, type, kind]).toEqual([name, name, name?.endsWith("_total") ? "counter" : "gauge"]);
    }
  });
});

describe("health", () => {
  test("says what serves, since when, and for how long", async () => {
    using node = new RestNode();
    const since = new Date(node.clock.nowMs).toISOString();
    node.clock.nowMs += 61_999;
    const answer = await node.call("GET", "/health");
    expect([answer.status, answer.headers.get("content-type")]).toEqual([200, "application/json"]);
    expect(answer.json()).toEqual({
      status: "ok",
      engine: { name: "memory", status: "ok", since },
      uptime_seconds: 61,
      version: "1.2.3",
    });
    expect((await node.call("GET", "/api/stats")).json().uptime_seconds).toBe(61);
  });

  test("is alive before it is ready, and still when it stops", async () => {
    using node = new RestNode();
    const ask = async (path: string) => {
      const answer = await node.call("GET", path);
      return [answer.status, answer.text];
    };
    expect(await ask("/readyz")).toEqual([200, '{"status":"ready"}']);
    node.ready = false;
    expect(await ask("/readyz")).toEqual([503, '{"status":"not ready"}']);
    expect((await node.call("HEAD", "/readyz")).status).toBe(503);
    expect(await ask("/healthz")).toEqual([200, '{"status":"alive"}']);
    expect((await node.call("GET", "/health")).status).toBe(200);
  });
});

test("/api/version gives the version", async () => {
  using node = new RestNode();
  expect((await node.call("GET", "/api/version")).text).toBe('{"version":"1.2.3"}');
});
