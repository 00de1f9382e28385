import { describe, expect, test } from "bun:test";
import { expectError, startTestApi, type TestApi, ttlIn, WAYS_TO_ANSWER } from "../../support/api.ts";

function put(api: TestApi, key: string, value: string, ttl = "0") {
  return api.call("POST", "/api/cache", { body: `{"key":"${key}","value":${value},"ttl":"${ttl}"}` });
}

describe.each(WAYS_TO_ANSWER)("a counter, where the engine answers %s,", (_, engine) => {
  test("that is absent counts from 0 and gets the default TTL", async () => {
    using api = await startTestApi({ engine, defaultTtlMs: 5_000 });
    const answer = await api.call("PATCH", "/api/cache/n", { body: '{"increment":1}' });
    expect([answer.status, answer.body]).toEqual([200, '{"key":"n","value":1}']);
    expect(answer.headers.get("content-type")).toBe("application/json");
    const read = await api.call("GET", "/api/cache/n");
    expect([read.body, ttlIn(read)]).toEqual(['{"key":"n","value":1}', 5]);
  });

  test("counts on from what is stored, down too, and keeps its TTL", async () => {
    using api = await startTestApi({ engine });
    await put(api, "n", "40", "10s");
    expect((await api.call("PATCH", "/api/cache/n", { body: '{"increment":-42}' })).body).toBe(
      '{"key":"n","value":-2}',
    );
    expect((await api.call("GET", "/api/cache/n")).headers.get("cache-status")).toBe("ServCache; hit; ttl=10");
  });

  test.each(['"1"', "1.5", "1.0", "1e2", "null", "true", "[]", "9007199254740992"])(
    "refuses to count by %s",
    async (increment) => {
      using api = await startTestApi({ engine });
      const answer = await api.call("PATCH", "/api/cache/n", { body: `{"increment":${increment}}` });
      expectError(answer, 400, "ERR_BAD_INCREMENT");
    },
  );

  test("adds up what many connections count at once", async () => {
    using api = await startTestApi({ engine });
    const url = `http://127.0.0.1:${api.port}/api/cache/n`;
    const counts = Array.from({ length: 50 }, () => fetch(url, { method: "PATCH", body: '{"increment":1}' }));
    expect((await Promise.all(counts)).map(({ status }) => status)).toEqual(counts.map(() => 200));
    expect((await api.call("GET", "/api/cache/n?raw")).body).toBe("50");
  });
});

describe.each(WAYS_TO_ANSWER)("a touch, where the engine answers %s,", (_, engine) => {
  test("sets another TTL and answers with the document", async () => {
    using api = await startTestApi({ engine });
    await put(api, "k", "[1.0]", "10s");
    const answer = await api.call("PATCH", "/api/cache/k", { body: '{"ttl":"1h"}' });
    expect([answer.status, answer.body]).toEqual([200, '{"key":"k","value":[1.0]}']);
    expect(answer.headers.get("cache-control")).toBe("no-store");
    expect(answer.headers.get("cache-status")).toBeUndefined();
    expect(ttlIn(await api.call("GET", "/api/cache/k"))).toBe(3600);
    api.clock.nowMs += 11_000;
    expect((await api.call("GET", "/api/cache/k")).status).toBe(200);
  });

  test.each([
    ['"0"', null],
    ["0", null],
    ["null", 60],
  ])("with %s leaves %p s", async (ttl, leftSeconds) => {
    using api = await startTestApi({ engine, defaultTtlMs: 60_000 });
    await put(api, "k", "1", "10s");
    await api.call("PATCH", "/api/cache/k", { body: `{"ttl":${ttl}}` });
    expect(ttlIn(await api.call("GET", "/api/cache/k"))).toBe(leftSeconds);
  });

  test.each([
    ["{}", "ERR_BAD_PATCH"],
    ['{"value":1}', "ERR_BAD_PATCH"],
    ['{"ttl":"1h","increment":1}', "ERR_BAD_PATCH"],
    ["", "ERR_INVALID_JSON"],
    ["[]", "ERR_INVALID_JSON"],
    ['{"ttl":"1h"', "ERR_INVALID_JSON"],
  ])("refuses the body %p", async (body, code) => {
    using api = await startTestApi({ engine });
    expectError(await api.call("PATCH", "/api/cache/k", { body }), 400, code);
  });
});

describe.each(WAYS_TO_ANSWER)("deleting, where the engine answers %s,", (_, engine) => {
  async function withKeys(...keys: string[]): Promise<TestApi> {
    const api = await startTestApi({ engine });
    for (const key of keys) await put(api, key, "1");
    return api;
  }

  async function keysOf(api: TestApi): Promise<string[]> {
    return JSON.parse((await api.call("GET", "/api/keys")).body).keys.sort();
  }

  test.each([
    ["?pattern=user:*", 2, ["other", "a b"]],
    ["?pattern=user:*&replicated=true", 2, ["other", "a b"]],
    ["?replicated=true&pattern=user%3A%2A", 2, ["other", "a b"]],
    ["?pattern=user:1", 1, ["user:2", "other", "a b"]],
    ["?pattern=user:[^1]", 1, ["user:1", "other", "a b"]],
    ["?pattern=a+b", 1, ["user:1", "user:2", "other"]],
    ["?pattern=a%20b", 1, ["user:1", "user:2", "other"]],
    ["?pattern=nobody*", 0, ["user:1", "user:2", "other", "a b"]],
    ["?pattern=other&pattern=*", 1, ["user:1", "user:2", "a b"]],
    ["?pattern=*", 4, []],
    ["", 4, []],
    ["?", 4, []],
    ["?replicated=true", 4, []],
  ])("/api/cache%s deletes %p keys", async (query, deleted, left) => {
    using api = await withKeys("user:1", "user:2", "other", "a b");
    const answer = await api.call("DELETE", `/api/cache${query}`);
    expect([answer.status, answer.body]).toEqual([200, `{"status":"success","deleted":${deleted}}`]);
    expect(await keysOf(api)).toEqual([...left].sort());
  });

  test.each([
    ["?pattern=", "ERR_INVALID_PATTERN"],
    ["?pattern", "ERR_INVALID_PATTERN"],
    [`?pattern=${"x".repeat(1025)}`, "ERR_INVALID_PATTERN"],
    ["?pattern=%", "ERR_BAD_QUERY"],
    ["?pattern=%ff", "ERR_BAD_QUERY"],
    ["?x=%zz", "ERR_BAD_QUERY"],
    ["?tag=a", "ERR_TAGS_UNSUPPORTED"],
    ["?pattern=*&tag=a", "ERR_TAGS_UNSUPPORTED"],
  ])("/api/cache%s is refused, and deletes nothing", async (query, code) => {
    using api = await withKeys("a");
    expectError(await api.call("DELETE", `/api/cache${query}`), 400, code);
    expect(await keysOf(api)).toEqual(["a"]);
  });

  test.each([
    ["If-Match", "*"],
    ["If-None-Match", "*"],
    ["If-Match", '"1.1"'],
  ])("many keys under %s: %s is refused: a condition is about one entry", async (name, value) => {
    using api = await withKeys("a");
    for (const query of ["", "?pattern=*"]) {
      const answer = await api.call("DELETE", `/api/cache${query}`, { headers: { [name]: value } });
      expectError(answer, 400, "ERR_BAD_CONDITION");
    }
    expect(await keysOf(api)).toEqual(["a"]);
  });
});
