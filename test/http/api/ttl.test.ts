import { describe, expect, test } from "bun:test";
import { expectError, expectSuccess, startTestApi, type TestApi, WAYS_TO_ANSWER } from "../../support/api.ts";

const DAY_MS = 86_400_000;
const DEFAULT_TTL_MS = 60_000;

/** The last millisecond in which the entry is there, counted from now; null = it is there for 300 years. */
async function lifeMs(api: TestApi, ttlMs: number | null): Promise<boolean> {
  const there = async () => (await api.call("GET", "/api/cache/k")).status === 200;
  if (ttlMs === null) {
    api.clock.nowMs += 109_500 * DAY_MS;
    return there();
  }
  api.clock.nowMs += ttlMs - 1;
  const before = await there();
  api.clock.nowMs += 1;
  return before && !(await there());
}

const LIVES: [string, number | null][] = [
  ['"300ms"', 300],
  ['"1.5h"', 5_400_000],
  ['"1h30m"', 5_400_000],
  ['"+5s"', 5_000],
  ['".5s"', 500],
  ['"1h1m1s1ms"', 3_661_001],
  ['"1ns"', 1],
  ['"999us"', 1],
  ['"1\\u00b5s"', 1],
  ['"1000001ns"', 2],
  ['"\\u0035s"', 5_000],
  ['"2540400h"', 2_540_400 * 3_600_000],
  ["0", null],
  ['"0"', null],
  ['"0s"', null],
  ['"-0"', null],
  ['"0h0m"', null],
  ["null", DEFAULT_TTL_MS],
];

const REFUSED = [
  '""',
  '"5"',
  '"-5s"',
  '"s"',
  '"5 s"',
  '" 5s"',
  '"5S"',
  '"1d"',
  '"ten"',
  '"1e3s"',
  '"2562048h"',
  "5",
  "-1",
];

describe.each(WAYS_TO_ANSWER)("the TTL of an entry, where the engine answers %s,", (_, engine) => {
  test.each(LIVES)("%s in a body is %p ms", async (ttl, ms) => {
    using api = await startTestApi({ engine, defaultTtlMs: DEFAULT_TTL_MS });
    expectSuccess(await api.call("POST", "/api/cache", { body: `{"key":"k","value":1,"ttl":${ttl}}` }));
    expect(await lifeMs(api, ms)).toBe(true);
  });

  test.each(LIVES.filter(([ttl]) => ttl.startsWith('"')))("%s in a query is %p ms", async (ttl, ms) => {
    using api = await startTestApi({ engine, defaultTtlMs: DEFAULT_TTL_MS });
    const target = `/api/cache/k?ttl=${encodeURIComponent(JSON.parse(ttl))}`;
    expectSuccess(await api.call("PUT", target, { body: "x" }));
    expect(await lifeMs(api, ms)).toBe(true);
  });

  test.each([
    ["the default", DEFAULT_TTL_MS],
    ["none", null],
  ])("that is absent is %s of the node", async (_name, defaultTtlMs) => {
    for (const method of ["POST", "PUT"]) {
      using api = await startTestApi({ engine, defaultTtlMs });
      const target = method === "POST" ? "/api/cache" : "/api/cache/k";
      expectSuccess(await api.call(method, target, { body: '{"key":"k","value":1}' }));
      expect(await lifeMs(api, defaultTtlMs)).toBe(true);
    }
  });

  test.each([...REFUSED, "true", "[]", "{}", "0.5"])("%s in a body is refused", async (ttl) => {
    using api = await startTestApi({ engine });
    const body = `{"key":"k","value":1,"ttl":${ttl}}`;
    expectError(await api.call("POST", "/api/cache", { body }), 400, "ERR_INVALID_TTL");
    expectError(await api.call("PATCH", "/api/cache/k", { body: `{"ttl":${ttl}}` }), 400, "ERR_INVALID_TTL");
  });

  test.each(REFUSED.filter((ttl) => ttl.startsWith('"')))("%s in a query is refused", async (ttl) => {
    using api = await startTestApi({ engine });
    const target = `/api/cache/k?ttl=${encodeURIComponent(JSON.parse(ttl))}`;
    expectError(await api.call("PUT", target, { body: "x" }), 400, "ERR_INVALID_TTL");
  });

  test("is replaced by the next write's, also by none", async () => {
    using api = await startTestApi({ engine });
    await api.call("POST", "/api/cache", { body: '{"key":"k","value":1,"ttl":"1s"}' });
    await api.call("POST", "/api/cache", { body: '{"key":"k","value":1}' });
    expect(await lifeMs(api, null)).toBe(true);
  });
});
