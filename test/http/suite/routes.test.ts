import { describe, expect, test } from "bun:test";
import { EngineUnavailableError } from "../../../src/engine/engine.ts";
import { expectError, later, startTestApi, type TestApi, WAYS_TO_ANSWER } from "../../support/api.ts";
import { pruneAll, smallEngine } from "../../support/engine-io.ts";
import { LateEngine } from "../../support/late-engine.ts";

describe.each(WAYS_TO_ANSWER)("what an operator asks, where the engine answers %s,", (_, engine) => {
  test("is counted in /api/stats and /metrics", async () => {
    using api = await startTestApi({ engine });
    await api.call("POST", "/api/cache", { body: '{"key":"a","value":1}' });
    await api.call("POST", "/api/cache", { body: '{"key":"b","value":1}' });
    await api.call("GET", "/api/cache/a");
    await api.call("HEAD", "/api/cache/a");
    await api.call("GET", "/api/cache/b");
    await api.call("GET", "/api/cache/nobody");
    await api.call("DELETE", "/api/cache/a");
    api.clock.nowMs += 61_500;
    const stats = JSON.parse((await api.call("GET", "/api/stats")).body);
    const counts = {
      entries: 1,
      hits: 3,
      misses: 1,
      hit_ratio: 0.75,
      sets: 2,
      deletes: 1,
      evictions: 0,
      expirations: 0,
    };
    expect(stats).toMatchObject({ ...counts, engine: api.engine.name, uptime_seconds: 61 });
    expect(stats.bytes).toBeGreaterThan(0);
    expect(stats.bytes).toBeLessThanOrEqual(stats.limit_bytes);
    const metrics = await api.call("GET", "/metrics");
    expect(metrics.headers.get("content-type")).toBe("text/plain; version=0.0.4; charset=utf-8");
    const lines = metrics.body.split("\n").filter((line) => !line.startsWith("#"));
    expect(lines).toContain("servcache_hits_total 3");
    expect(lines).toContain("servcache_misses_total 1");
    expect(lines).toContain("servcache_entries 1");
    for (const line of lines) expect(line).toMatch(/^$|^[a-z_]+(\{[a-z_]+="[^"]*"(,[a-z_]+="[^"]*")*\})? \S+$/);
  });

  test("has no hit ratio before the first read", async () => {
    using api = await startTestApi({ engine });
    expect(JSON.parse((await api.call("GET", "/api/stats")).body).hit_ratio).toBeNull();
  });

  test("is answered in /health with the engine's state, the uptime and the version", async () => {
    using api = await startTestApi({ engine });
    api.clock.nowMs += 5_000;
    const answer = await api.call("GET", "/health");
    expect(answer.status).toBe(200);
    expect(JSON.parse(answer.body)).toEqual({
      status: "ok",
      engine: { name: api.engine.name, status: "ok", since: expect.stringMatching(/^\d{4}-.*Z$/) },
      uptime_seconds: 5,
      version: "1.2.3",
    });
  });

  test("tells alive from ready", async () => {
    using api = await startTestApi({ engine });
    expect((await api.call("GET", "/readyz")).status).toBe(200);
    api.ready = false;
    expect((await api.call("GET", "/readyz")).status).toBe(503);
    expect((await api.call("GET", "/healthz")).status).toBe(200);
  });
});

test("counts what has expired once it is pruned", async () => {
  let prune = () => {};
  using api = await startTestApi({
    engine: (clock) => {
      const memory = smallEngine(4 * 1024 * 1024, clock);
      prune = () => pruneAll(memory);
      return memory;
    },
  });
  await api.call("PUT", "/api/cache/k?ttl=1s", { body: "x" });
  api.clock.nowMs += 1_200;
  prune();
  const stats = JSON.parse((await api.call("GET", "/api/stats")).body);
  expect(stats).toMatchObject({ entries: 0, expirations: 1 });
});

describe("an engine that fails", () => {
  const REQUESTS: [string, string, string][] = [
    ["GET", "/api/cache/k", ""],
    ["POST", "/api/cache", '{"key":"k","value":1}'],
    ["PUT", "/api/cache/k", "1"],
    ["PATCH", "/api/cache/k", '{"increment":1}'],
    ["PATCH", "/api/cache/k", '{"ttl":"1s"}'],
    ["DELETE", "/api/cache/k", ""],
    ["DELETE", "/api/cache", ""],
    ["GET", "/api/keys", ""],
    ["GET", "/api/stats", ""],
  ];

  async function failing(failure: Error): Promise<TestApi> {
    return startTestApi({
      engine: (clock) => {
        const engine = later(clock);
        engine.failure = failure;
        return engine;
      },
    });
  }

  test.each(REQUESTS)("because it can't be reached makes %s %s %s answer 503", async (method, target, body) => {
    using api = await failing(new EngineUnavailableError("the engine is away: try again", 1_500));
    const answer = await api.call(method, target, { body });
    expect(expectError(answer, 503, "ERR_ENGINE_UNAVAILABLE")).toBe("the engine is away: try again");
    expect(answer.headers.get("retry-after")).toBe("2");
    expect(api.bugs).toEqual([]);
  });

  test.each(REQUESTS)("by a bug makes %s %s %s answer 500 without its message", async (method, target, body) => {
    const bug = new Error("secret detail");
    using api = await failing(bug);
    const answer = await api.call(method, target, { body });
    expectError(answer, 500, "ERR_INTERNAL");
    expect(answer.body).not.toContain("secret");
    expect(api.bugs).toEqual([bug]);
  });

  test("does not hide what else /metrics tells", async () => {
    using api = await failing(new EngineUnavailableError("the engine is away: try again", 1_500));
    await api.call("GET", "/api/cache/k");
    const { status, body } = await api.call("GET", "/metrics");
    expect(status).toBe(200);
    expect(body).toContain('http_server_request_duration_seconds_count{operation="get",result="server_error"} 1\n');
    expect(body).not.toContain("servcache_hits_total");
  });

  test("is used again as soon as it works", async () => {
    using api = await failing(new EngineUnavailableError("the engine is away: try again", 1_000));
    expect((await api.call("GET", "/api/cache/k")).status).toBe(503);
    if (api.engine instanceof LateEngine) api.engine.failure = null;
    expect((await api.call("GET", "/api/cache/k")).status).toBe(404);
  });
});
