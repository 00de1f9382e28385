import { describe, expect, test } from "bun:test";
import { RestNode } from "../../support/rest-node.ts";

describe("routing", () => {
  test.each(["/", "/api", "/api/", "/api/cach", "/api/v2/cache/a", "/openapi.json", "/api/batch/", "/health/x", "*"])(
    "%s is unknown",
    async (path) => {
      using node = new RestNode();
      const answer = await node.call("GET", path);
      expect([answer.status, answer.json().code]).toEqual([404, "ERR_UNKNOWN_PATH"]);
    },
  );

  test.each([
    ["POST", "/api/cache/key", "GET, HEAD, PUT, PATCH, DELETE"],
    ["OPTIONS", "/api/cache/key", "GET, HEAD, PUT, PATCH, DELETE"],
    ["GET", "/api/cache", "POST, DELETE"],
    ["toString", "/api/cache", "POST, DELETE"],
    ["GET", "/api/batch", "POST"],
    ["DELETE", "/api/v1/keys", "GET, HEAD"],
    ["POST", "/health", "GET, HEAD"],
  ])("%s %s is 405, and Allow says %s", async (method, path, allow) => {
    using node = new RestNode();
    const answer = await node.call(method, path);
    expect([answer.status, answer.json().code]).toEqual([405, "ERR_METHOD_NOT_ALLOWED"]);
    expect(answer.headers.get("allow")).toBe(allow);
  });

  test("HEAD answers as GET does, without a body", async () => {
    using node = new RestNode();
    await node.post("key", '"value"');
    for (const path of [
      "/api/cache/key",
      "/api/cache/key?raw",
      "/api/cache/absent",
      "/api/stats",
      "/health",
      "/api/version",
    ]) {
      const get = await node.call("GET", path);
      const head = await node.call("HEAD", path);
      expect([head.status, head.text]).toEqual([get.status, ""]);
      expect(head.headers.get("content-length")).toBe(get.headers.get("content-length"));
      expect(head.headers.get("content-type")).toBe(get.headers.get("content-type"));
    }
  });
});

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
