import { describe, expect, test } from "bun:test";
import { RestNode } from "../../support/rest-node.ts";

describe("the operator's calls", () => {
  test("stats and metrics count what was done", async () => {
    using node = new RestNode();
    await node.post("a", "1");
    await node.post("b", "1");
    await node.get("a");
    await node.get("a");
    await node.get("absent");
    await node.call("DELETE", "/api/cache/b");
    node.clock.nowMs += 5_000;
    const stats = (await node.call("GET", "/api/v1/stats")).json();
    expect(stats).toMatchObject({
      entries: 1,
      hits: 2,
      misses: 1,
      sets: 2,
      deletes: 1,
      evictions: 0,
      uptime_seconds: 5,
    });
    expect(stats.bytes).toBeLessThan(stats.limit_bytes);
    const metrics = await node.call("GET", "/metrics");
    expect(metrics.headers.get("content-type")).toStartWith("text/plain; version=0.0.4");
    expect(metrics.text).toContain("# TYPE servcache_hits_total counter\nservcache_hits_total 2\n");
    expect(metrics.text).toContain(`servcache_memory_bytes ${stats.bytes}\n`);
  });

  test("health, liveness, readiness and version", async () => {
    using node = new RestNode();
    expect((await node.call("GET", "/health")).json()).toMatchObject({
      status: "ok",
      engine: { name: "memory", status: "ok" },
      version: "1.2.3",
    });
    expect((await node.call("GET", "/healthz")).status).toBe(200);
    expect((await node.call("GET", "/readyz")).status).toBe(200);
    node.ready = false;
    expect((await node.call("GET", "/readyz")).status).toBe(503);
    expect((await node.call("GET", "/api/version")).text).toBe('{"version":"1.2.3"}');
  });
});
