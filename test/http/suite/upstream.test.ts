/** What clients see of a node that has something behind its cache. */
import { describe, expect, test } from "bun:test";
import type { Loaded, LoadState } from "../../../src/cache/backing-store.ts";
import type { DeadWrite } from "../../../src/cache/operator-port.ts";
import { UpstreamError, type UpstreamErrorCode } from "../../../src/cache/upstream-error.ts";
import { single } from "../../../src/telemetry/metric-family.ts";
import { expectError, expectSuccess, startTestApi, WAYS_TO_ANSWER } from "../../support/api.ts";
import { stampOf } from "../../support/engine-io.ts";
import { FakeUpstream, outboxFull, shownMutation } from "../../support/fake-upstream.ts";

const STORED: LoadState = { isStale: false, isStored: true, isCollapsed: false };
const QUEUED_MS = Date.UTC(2025, 11, 31, 23, 59, 0);

function found(text: string, expiresAtMs: number, change: Partial<LoadState> = {}): Loaded {
  const value = { bytes: Buffer.from(text), contentType: "application/json" };
  return { kind: "found", value, expiresAtMs, stamp: stampOf(9), ...STORED, ...change };
}

function letter(id: number, change: Partial<DeadWrite> = {}): DeadWrite {
  return {
    id,
    key: `key:${id}`,
    kind: "put",
    valueBytes: 12,
    contentType: "application/json",
    attempts: 10,
    reason: "no such customer",
    queuedAtMs: QUEUED_MS,
    ...change,
  };
}

describe.each(WAYS_TO_ANSWER)("a node with something behind it, on an engine that answers %s", (_, engine) => {
  test("answers a miss with what is behind: GET, HEAD, raw, 304, and 404 where there is none", async () => {
    const upstream = new FakeUpstream();
    using api = await startTestApi({ engine, upstream });
    upstream.onLoad = (key) => (key === "none" ? { kind: "absent" } : found("[1]", api.clock.nowMs + 60_000));
    const got = await api.call("GET", "/api/cache/a%2Fb");
    expect([got.status, got.body]).toEqual([200, '{"key":"a/b","value":[1]}']);
    expect(got.headers.get("cache-control")).toBe("no-cache");
    expect(got.headers.get("cache-status")).toBe("ServCache; fwd=uri-miss; stored");
    expect(got.headers.get("warning")).toBeUndefined();
    const head = await api.call("HEAD", "/api/cache/a");
    expect([head.status, head.headers.get("content-length")]).toEqual([200, "23"]);
    expect((await api.call("GET", "/api/cache/a?raw")).body).toBe("[1]");
    const etag = got.headers.get("etag") ?? "";
    expect((await api.call("GET", "/api/cache/a", { headers: { "If-None-Match": etag } })).status).toBe(304);
    const none = await api.call("GET", "/api/cache/none");
    expectError(none, 404, "ERR_NOT_FOUND");
    expect(none.headers.get("cache-status")).toBe("ServCache; fwd=uri-miss");
    expect(upstream.loaded).toEqual(["a/b", "a", "a", "a", "none"]);
  });

  test("marks what is stale, and lets nobody keep it", async () => {
    const upstream = new FakeUpstream();
    using api = await startTestApi({ engine, upstream });
    upstream.onLoad = () => found("[1]", api.clock.nowMs - 5_000, { isStale: true, isStored: false });
    for (const method of ["GET", "HEAD"]) {
      const answer = await api.call(method, "/api/cache/a");
      expect(answer.status).toBe(200);
      expect(Object.fromEntries(answer.headers)).toMatchObject({
        "cache-control": "no-cache",
        "cache-status": "ServCache; hit; detail=stale-if-error",
      });
      expect(answer.headers.has("warning")).toBe(false);
    }
    upstream.onLoad = () => found("[2]", 0);
    const fresh = await api.call("GET", "/api/cache/a");
    expect(fresh.headers.get("cache-status")).toBe("ServCache; fwd=uri-miss; stored");
    upstream.onLoad = () => found("[2]", 0, { isCollapsed: true, isStored: false });
    const shared = await api.call("GET", "/api/cache/a");
    expect(shared.headers.get("cache-status")).toBe("ServCache; fwd=uri-miss; collapsed");
  });

  test.each([
    ["ERR_BACKEND_TIMEOUT", 504, "1"],
    ["ERR_BACKEND_UNAVAILABLE", 502, "1"],
    ["ERR_BACKEND_ANSWER", 502, "1"],
    ["ERR_BACKEND_BUSY", 502, "1"],
    ["ERR_BACKEND_BREAKER_OPEN", 502, "1"],
    ["ERR_OUTBOX_FULL", 503, "1"],
    ["ERR_BACKEND_REFUSED", 422, undefined],
    ["ERR_BACKEND_KEY", 400, undefined],
  ] as [UpstreamErrorCode, number, string | undefined][])("answers %s as %d", async (code, status, retryAfter) => {
    const upstream = new FakeUpstream();
    using api = await startTestApi({ engine, upstream });
    const fail = () => {
      throw new UpstreamError(code, "the backend: what it said", 700, false);
    };
    upstream.onLoad = fail;
    upstream.onRecord = fail;
    const calls = [
      await api.call("GET", "/api/cache/a"),
      await api.call("HEAD", "/api/cache/a"),
      await api.call("POST", "/api/cache", { body: '{"key":"a","value":1}' }),
      await api.call("PUT", "/api/cache/a", { body: "x" }),
      await api.call("PATCH", "/api/cache/a", { body: '{"increment":1}' }),
      await api.call("PATCH", "/api/cache/a", { body: '{"ttl":"1s"}' }),
      await api.call("DELETE", "/api/cache/a"),
      await api.call("DELETE", "/api/cache?pattern=a*"),
      await api.call("DELETE", "/api/cache"),
    ];
    for (const answer of calls) {
      expect([answer.status, answer.headers.get("retry-after")]).toEqual([status, retryAfter]);
      if (answer.body !== "") expectError(answer, status, code);
    }
    expect(upstream.recorded).toEqual([]);
    expect(api.bugs).toEqual([]);
  });

  test("answers each operation of a batch by itself, those of one key in order", async () => {
    const upstream = new FakeUpstream();
    using api = await startTestApi({ engine, upstream });
    upstream.onRecord = (mutation) => {
      if (mutation.kind === "put" && mutation.key === "refused") throw outboxFull();
    };
    upstream.onLoad = (key) => {
      if (key === "away") throw new UpstreamError("ERR_BACKEND_TIMEOUT", "no answer within 1000 ms", 1_000, false);
      return key === "none" ? { kind: "absent" } : found('"loaded"', 0);
    };
    const operations = [
      { op: "get", key: "x" },
      { op: "set", key: "a", value: 1 },
      { op: "set", key: "refused", value: 1 },
      { op: "get", key: "away" },
      { op: "get", key: "none" },
      { op: "get", key: "a" },
      { op: "delete", key: "a" },
      { op: "set", key: "b", value: 1 },
      { op: "delete", key: "b" },
      { op: "set", key: "b", value: { text: "2" } },
      { op: "get", key: "b" },
    ];
    const answer = await api.call("POST", "/api/batch", { body: JSON.stringify({ operations }) });
    expect(answer.status).toBe(200);
    expect(JSON.parse(answer.body).results).toMatchObject([
      { status: 200, key: "x", value: "loaded" },
      { status: 200 },
      { status: 503, code: "ERR_OUTBOX_FULL" },
      { status: 504, code: "ERR_BACKEND_TIMEOUT" },
      { status: 404, code: "ERR_NOT_FOUND" },
      { status: 200, key: "a", value: 1 },
      { status: 200 },
      { status: 200 },
      { status: 200 },
      { status: 200 },
      { status: 200, key: "b", value: { text: "2" } },
    ]);
    const ofKey = (key: string) => upstream.recorded.map(shownMutation).filter((shown) => shown.includes(` ${key}`));
    expect([ofKey("a"), ofKey("b")]).toEqual([
      ["put a=1", "delete a"],
      ["put b=1", "delete b", 'put b={"text":"2"}'],
    ]);
  });

  test("keeps what peers of the original's kind send on from the database", async () => {
    const upstream = new FakeUpstream();
    using api = await startTestApi({ engine, upstream });
    expectSuccess(await api.call("POST", "/api/cache?replicated=true", { body: '{"key":"a","value":1}' }));
    expectSuccess(await api.call("DELETE", "/api/cache/a?replicated=true"));
    await api.call("DELETE", "/api/cache?pattern=a*&replicated=true");
    expectSuccess(await api.call("POST", "/api/cache", { body: '{"key":"a","value":2}' }));
    expect(upstream.recorded.map(({ isReplicated }) => isReplicated)).toEqual([true, true, true, false]);
  });

  test("answers each of several connections for itself while it loads", async () => {
    const upstream = new FakeUpstream();
    using api = await startTestApi({ engine, upstream });
    upstream.onLoad = async (key) => {
      for (let turns = key === "slow" ? 5 : 1; turns > 0; turns--) await new Promise((turn) => setImmediate(turn));
      return found(`"${key}"`, 0);
    };
    const answers = await Promise.all([
      ...["slow", "quick", "slow"].map((key) => fetch(`http://127.0.0.1:${api.port}/api/cache/${key}`)),
    ]);
    const bodies = await Promise.all(answers.map((answer) => answer.text()));
    expect(bodies).toEqual(["slow", "quick", "slow"].map((key) => `{"key":"${key}","value":"${key}"}`));
  });

  test("tells how the parts behind it do, and is degraded with them, but not unavailable", async () => {
    const upstream = new FakeUpstream();
    using api = await startTestApi({ engine, upstream });
    const sinceMs = QUEUED_MS;
    upstream.parts = {
      backend: { status: "ok", detail: "", facts: { name: "postgres" }, sinceMs },
      outbox: { status: "degraded", detail: "81 % full", facts: { bytes: 5 }, sinceMs },
    };
    upstream.counted = { backend: { loads: 3 }, outbox: { bytes: 5 } };
    const health = await api.call("GET", "/health");
    expect([health.status, JSON.parse(health.body)]).toMatchObject([
      200,
      {
        status: "degraded",
        backend: { status: "ok", since: "2025-12-31T23:59:00.000Z", name: "postgres" },
        outbox: { status: "degraded", detail: "81 % full", bytes: 5 },
      },
    ]);
    expect(JSON.parse(health.body).backend).not.toHaveProperty("detail");
    const stats = await api.call("GET", "/api/stats");
    expect(JSON.parse(stats.body)).toMatchObject({ backend: { loads: 3 }, outbox: { bytes: 5 } });
  });

  test("is asked for what an answer shows and no more: for /readyz and /healthz, not at all", async () => {
    const upstream = new FakeUpstream();
    upstream.families = [single("gauge", "servcache.outbox.size", "By", "Bytes.", 5)];
    using api = await startTestApi({ engine, upstream });
    for (const path of ["/readyz", "/healthz"]) expect((await api.call("GET", path)).status).toBe(200);
    api.ready = false;
    expect((await api.call("GET", "/readyz")).status).toBe(503);
    expect(upstream.asked).toEqual([]);
    await api.call("GET", "/health");
    await api.call("GET", "/api/stats");
    expect((await api.call("GET", "/metrics")).body).toContain("servcache_outbox_size_bytes 5");
    expect(upstream.asked).toEqual(["health", "stats", "metrics"]);
  });
});

test.each([
  [403, "ERR_PEER_UNKNOWN", null],
  [503, "ERR_REPLICATION_FAILED", "1"],
] as const)("what a peer is refused with %d is an error like all others", async (status, code, retryAfter) => {
  const upstream = new FakeUpstream();
  const body = Buffer.from(JSON.stringify({ error: "send the token", code }));
  upstream.onReplicate = () => ({ status, mediaType: "application/json", body });
  using api = await startTestApi({ upstream });
  const plain = await api.call("POST", "/api/replication", { body: "x" });
  expect(expectError(plain, status, code)).toBe("send the token");
  expect(plain.headers.get("retry-after") ?? null).toBe(retryAfter);
  const headers = { Accept: "application/problem+json" };
  const problem = await api.call("POST", "/api/replication", { headers, body: "x" });
  expect(problem.headers.get("content-type")).toBe("application/problem+json");
  expect(JSON.parse(problem.body)).toMatchObject({ status, code, detail: "send the token" });
});

describe("dead letters", () => {
  test("are listed page by page, with all that an operator needs", async () => {
    const upstream = new FakeUpstream();
    upstream.dead = [letter(3), letter(5, { kind: "delete", valueBytes: 0, contentType: "" }), letter(8)];
    using api = await startTestApi({ upstream });
    const all = await api.call("GET", "/api/outbox/dead");
    expect(all.status).toBe(200);
    const { dead, cursor } = JSON.parse(all.body);
    expect([dead.length, cursor]).toEqual([3, null]);
    expect(dead[0]).toEqual({
      id: 3,
      key: "key:3",
      kind: "put",
      content_type: "application/json",
      value_bytes: 12,
      attempts: 10,
      reason: "no such customer",
      queued_at: "2025-12-31T23:59:00.000Z",
      age_seconds: 60,
    });
    const first = JSON.parse((await api.call("GET", "/api/v1/outbox/dead?limit=2")).body);
    expect([first.dead.map(({ id }: { id: number }) => id), first.cursor]).toEqual([[3, 5], "5"]);
    const second = JSON.parse((await api.call("GET", `/api/outbox/dead?limit=2&cursor=${first.cursor}`)).body);
    expect([second.dead.map(({ id }: { id: number }) => id), second.cursor]).toEqual([[8], null]);
  });

  test("are retried and dropped by their ids, or all of them", async () => {
    const upstream = new FakeUpstream();
    upstream.dead = [letter(3), letter(5), letter(8)];
    using api = await startTestApi({ upstream });
    const calls = [
      await api.call("POST", "/api/outbox/dead?id=3"),
      await api.call("POST", "/api/outbox/dead?all=true"),
      await api.call("DELETE", "/api/outbox/dead?id=3,5"),
      await api.call("DELETE", "/api/outbox/dead?all=true"),
    ];
    expect(calls.map(({ status, body }) => [status, JSON.parse(body)])).toEqual([
      [200, { status: "success", retried: 1 }],
      [200, { status: "success", retried: 3 }],
      [200, { status: "success", dropped: 2 }],
      [200, { status: "success", dropped: 3 }],
    ]);
    expect(upstream.asked).toEqual(["retry 3", "retry all", "drop 3,5", "drop all"]);
  });

  test.each([
    ["GET", "?limit=0", "ERR_BAD_LIMIT"],
    ["GET", "?limit=1001", "ERR_BAD_LIMIT"],
    ["GET", "?limit=x", "ERR_BAD_LIMIT"],
    ["GET", "?cursor=-1", "ERR_BAD_CURSOR"],
    ["GET", "?cursor=1e3", "ERR_BAD_CURSOR"],
    ["POST", "", "ERR_BAD_ID"],
    ["DELETE", "", "ERR_BAD_ID"],
    ["DELETE", "?id=", "ERR_BAD_ID"],
    ["DELETE", "?id=1,", "ERR_BAD_ID"],
    ["DELETE", "?id=1,x", "ERR_BAD_ID"],
    ["DELETE", "?id=0", "ERR_BAD_ID"],
    ["DELETE", "?all=yes", "ERR_BAD_ID"],
    ["DELETE", "?all=true&id=1", "ERR_BAD_ID"],
    ["DELETE", `?id=${Array.from({ length: 1_001 }, (_, id) => id + 1)}`, "ERR_BAD_ID"],
  ])("refuse %s %s: nothing is retried or forgotten by a slip", async (method, query, code) => {
    const upstream = new FakeUpstream();
    upstream.dead = [letter(1)];
    using api = await startTestApi({ upstream });
    expectError(await api.call(method, `/api/outbox/dead${query}`), 400, code);
    expect(upstream.asked).toEqual([]);
  });

  test("are none where nothing is behind the cache", async () => {
    using api = await startTestApi();
    expect((await api.call("GET", "/api/outbox/dead")).body).toBe('{"dead":[],"cursor":null}');
    expect((await api.call("DELETE", "/api/outbox/dead?all=true")).body).toBe('{"status":"success","dropped":0}');
    expectError(await api.call("PUT", "/api/outbox/dead"), 405, "ERR_METHOD_NOT_ALLOWED");
  });
});
