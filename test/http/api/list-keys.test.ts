import { describe, expect, test } from "bun:test";
import { expectError, startTestApi, type TestApi, WAYS_TO_ANSWER } from "../../support/api.ts";

async function page(api: TestApi, query: string): Promise<{ keys: string[]; cursor: string | null }> {
  const answer = await api.call("GET", `/api/keys${query}`);
  expect([answer.status, answer.headers.get("content-type")]).toEqual([200, "application/json"]);
  return JSON.parse(answer.body);
}

/** All keys that the pages give, and how long the longest page was. */
async function walk(api: TestApi, query: string): Promise<{ keys: string[]; longest: number }> {
  const keys: string[] = [];
  let longest = 0;
  let cursor: string | null = "";
  while (cursor !== null) {
    const found: { keys: string[]; cursor: string | null } = await page(
      api,
      `?${query}&cursor=${encodeURIComponent(cursor)}`,
    );
    keys.push(...found.keys);
    longest = Math.max(longest, found.keys.length);
    cursor = found.cursor;
  }
  return { keys: keys.sort(), longest };
}

async function withKeys(engine: (typeof WAYS_TO_ANSWER)[number][1], keys: readonly string[]): Promise<TestApi> {
  const api = await startTestApi({ engine });
  const operations = keys.map((key) => ({ op: "set", key, value: 1 }));
  await api.call("POST", "/api/batch", { body: JSON.stringify({ operations }) });
  return api;
}

describe.each(WAYS_TO_ANSWER)("a list of keys, where the engine answers %s,", (_, engine) => {
  const numbered = Array.from({ length: 250 }, (_unused, number) => `k${number}`);

  test("of an empty cache is empty", async () => {
    using api = await startTestApi({ engine });
    expect(await page(api, "")).toEqual({ keys: [], cursor: null });
  });

  test.each([
    ["limit=1", 1],
    ["limit=7", 7],
    ["limit=", 100],
    ["", 100],
    ["limit=10000", 250],
  ])("with %p comes in pages of at most %p, every key in one of them", async (query, most) => {
    using api = await withKeys(engine, numbered);
    const { keys, longest } = await walk(api, query);
    expect(keys).toEqual([...numbered].sort());
    expect(longest).toBeLessThanOrEqual(most);
  });

  test("holds what matches the pattern", async () => {
    using api = await withKeys(engine, ["user:1", "user:2", "other", "grüße"]);
    expect((await walk(api, "pattern=user:*")).keys).toEqual(["user:1", "user:2"]);
    expect((await walk(api, "pattern=gr%C3%BC?e")).keys).toEqual(["grüße"]);
    expect((await walk(api, "pattern=")).keys).toEqual(["grüße", "other", "user:1", "user:2"]);
    expect((await walk(api, "pattern=nobody*")).keys).toEqual([]);
  });

  test("leaves out what has expired or was deleted", async () => {
    using api = await withKeys(engine, ["a", "b"]);
    await api.call("PUT", "/api/cache/c?ttl=1s", { body: "x" });
    await api.call("DELETE", "/api/cache/b");
    api.clock.nowMs += 1_000;
    expect((await walk(api, "limit=10")).keys).toEqual(["a"]);
  });

  test("goes on where it was while keys come and go", async () => {
    using api = await withKeys(engine, numbered);
    const first = await page(api, "?limit=50");
    await api.call("POST", "/api/cache", { body: '{"key":"new","value":1}' });
    const seen = [...first.keys];
    for (let cursor = first.cursor; cursor !== null; ) {
      const next = await page(api, `?limit=50&cursor=${encodeURIComponent(cursor)}`);
      seen.push(...next.keys);
      cursor = next.cursor;
    }
    expect(numbered.filter((key) => !seen.includes(key))).toEqual([]);
  });

  test("that are few among many comes in one call", async () => {
    using api = await startTestApi({ engine });
    for (let start = 0; start < 20_000; start += 1_000) {
      const operations = Array.from({ length: 1_000 }, (_unused, at) => ({
        op: "set",
        key: `k${start + at}`,
        value: 1,
      }));
      await api.call("POST", "/api/batch", { body: JSON.stringify({ operations }) });
    }
    await api.call("POST", "/api/cache", { body: '{"key":"few","value":1}' });
    expect(await page(api, "?pattern=few")).toEqual({ keys: ["few"], cursor: null });
  });

  test.each([
    ["limit=0", "ERR_BAD_LIMIT"],
    ["limit=-1", "ERR_BAD_LIMIT"],
    ["limit=10001", "ERR_BAD_LIMIT"],
    ["limit=1.5", "ERR_BAD_LIMIT"],
    ["limit=1e2", "ERR_BAD_LIMIT"],
    ["limit=ten", "ERR_BAD_LIMIT"],
    ["limit=%20", "ERR_BAD_LIMIT"],
    ["cursor=nonsense", "ERR_INVALID_CURSOR"],
    ["cursor=%00", "ERR_INVALID_CURSOR"],
    [`pattern=${"x".repeat(1_025)}`, "ERR_INVALID_PATTERN"],
    ["pattern=%E4", "ERR_BAD_QUERY"],
  ])("with %p is refused", async (query, code) => {
    using api = await startTestApi({ engine });
    expectError(await api.call("GET", `/api/keys?${query}`), 400, code);
  });
});
