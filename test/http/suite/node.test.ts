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
      hot_keys: [],
      namespaces: [],
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
    expect(samplesOf(answer.text)).toMatchObject({
      servcache_hits_total: "2",
      servcache_misses_total: "4",
      servcache_hit_ratio: String(2 / 6),
      servcache_sets_total: "5",
      servcache_deletes_total: "3",
      'servcache_evictions_total{reason="unused"}': "0",
      'servcache_evictions_total{reason="cold"}': "0",
      servcache_expirations_total: "0",
      servcache_entries: "2",
      servcache_memory_bytes: String(stats.bytes),
      servcache_memory_limit_bytes: String(stats.limit_bytes),
      servcache_ready: "1",
      'servcache_health{part="engine",status="ok"}': "1",
      'servcache_build_info{version="1.2.3",engine="memory"}': "1",
    });
    expect(answer.text.endsWith("\n")).toBe(true);
  });

  test("count requests by operation and result", async () => {
    using node = new RestNode();
    await use(node);
    const samples = samplesOf((await node.call("GET", "/metrics")).text);
    const count = (operation: string, result: string) =>
      samples[`http_server_request_duration_seconds_count{operation="${operation}",result="${result}"}`];
    expect({
      hits: [count("get", "hit"), count("head", "hit")],
      misses: [count("get", "miss"), count("head", "miss")],
      puts: [count("put", "ok"), count("put", "client_error")],
      patches: count("patch", "ok"),
      deletes: count("delete", "ok"),
      invalidations: count("invalidate", "ok"),
      batches: count("batch", "ok"),
      nobody: count("other", "ok"),
    }).toEqual({
      hits: ["1", "1"],
      misses: ["1", "1"],
      puts: ["3", "2"],
      patches: "1",
      deletes: "2",
      invalidations: "1",
      batches: "1",
      nobody: undefined,
    });
  });

  test("are OpenMetrics for who asks for that", async () => {
    using node = new RestNode();
    const answer = await node.call("GET", "/metrics", { headers: { Accept: "application/openmetrics-text" } });
    expect(answer.headers.get("content-type")).toBe("application/openmetrics-text; version=1.0.0; charset=utf-8");
    expect(answer.text).toContain("# TYPE servcache_hits counter\nservcache_hits_total 0\n");
    expect(answer.text.endsWith("# EOF\n")).toBe(true);
  });

  test("are each told once with their type and meaning", async () => {
    using node = new RestNode();
    await use(node);
    const { text } = await node.call("GET", "/metrics");
    const heads = [...text.matchAll(/^# HELP (\S+) .+\.\n# TYPE (\S+) (counter|gauge|histogram)\n(\S+?)[{ ]/gm)];
    expect(heads.length).toBe(text.match(/^# HELP /gm)?.length ?? 0);
    for (const [, help, type, kind, name] of heads) {
      const sample = kind === "histogram" ? `${type}_bucket` : type;
      expect([help, name, type?.endsWith("_total")]).toEqual([type, sample, kind === "counter"]);
    }
    expect(new Set(heads.map(([, help]) => help)).size).toBe(heads.length);
  });
});

describe("/api/stats of keys", () => {
  test("counts reads and writes by namespace, in batches, too", async () => {
    using node = new RestNode();
    await node.post("user:1", "1");
    await node.get("user:1");
    await node.get("user:2");
    await node.call("DELETE", "/api/cache/user:1");
    await node.call("PUT", "/api/cache/plain", { body: "x" });
    const operations =
      '[{"op":"set","key":"user:3","value":1},{"op":"get","key":"user:3"},{"op":"delete","key":"o:1"}]';
    await node.call("POST", "/api/batch", { body: `{"operations":${operations}}` });
    expect((await node.call("GET", "/api/stats")).json().namespaces).toEqual([
      { name: "user", hits: 2, misses: 1, sets: 2, deletes: 1 },
      { name: "", hits: 0, misses: 0, sets: 1, deletes: 0 },
      { name: "o", hits: 0, misses: 0, sets: 0, deletes: 1 },
    ]);
  });

  test("names the keys that are read most, with the size of their values", async () => {
    using node = new RestNode();
    await node.post("hot", '"value"');
    for (let number = 0; number < 3; number++) await node.get("hot");
    await node.get("absent");
    const { hot_keys } = (await node.call("GET", "/api/stats")).json();
    // The random numbers of this node are 0, with which each read is looked at; a sample stands for 64 reads.
    expect(hot_keys).toEqual([
      { key: "hot", reads: 192, error: 0, share: 0.75, bytes: '"value"'.length },
      { key: "absent", reads: 64, error: 0, share: 0.25, bytes: null },
    ]);
  });
});

function samplesOf(text: string): Record<string, string | undefined> {
  const lines = text
    .trimEnd()
    .split("\n")
    .filter((line) => !line.startsWith("#"));
  return Object.fromEntries(
    lines.map((line) => [line.slice(0, line.lastIndexOf(" ")), line.slice(line.lastIndexOf(" ") + 1)]),
  );
}

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
