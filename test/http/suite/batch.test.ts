import { describe, expect, test } from "bun:test";
import { EngineUnavailableError } from "../../../src/engine/engine.ts";
import { MAX_VALUE_BYTES } from "../../../src/model/entry.ts";
import { expectError, later, startTestApi, type TestApi, ttlIn, WAYS_TO_ANSWER } from "../../support/api.ts";

function batch(api: TestApi, operations: string | object[]) {
  const text = typeof operations === "string" ? operations : JSON.stringify(operations);
  return api.call("POST", "/api/batch", { body: `{"operations":${text}}` });
}

async function resultsOf(api: TestApi, operations: string | object[]): Promise<unknown[]> {
  const answer = await batch(api, operations);
  expect([answer.status, answer.headers.get("content-type")]).toEqual([200, "application/json"]);
  return JSON.parse(answer.body).results;
}

function failed(status: number, code: string, key?: string): unknown {
  return { status, ...(key === undefined ? {} : { key }), code, error: expect.any(String) };
}

describe.each(WAYS_TO_ANSWER)("a batch, where the engine answers %s,", (_, engine) => {
  test("answers each operation in order, and later ones see what earlier ones did", async () => {
    using api = await startTestApi({ engine });
    const results = await resultsOf(api, [
      { op: "get", key: "a" },
      { op: "set", key: "a", value: { x: 1 } },
      { op: "get", key: "a" },
      { op: "set", key: "a", value: null },
      { op: "get", key: "a" },
      { op: "delete", key: "a" },
      { op: "get", key: "a" },
      { op: "delete", key: "a" },
    ]);
    expect(results).toEqual([
      failed(404, "ERR_NOT_FOUND", "a"),
      { status: 200, key: "a" },
      { status: 200, key: "a", value: { x: 1 } },
      { status: 200, key: "a" },
      { status: 200, key: "a", value: null },
      { status: 200, key: "a" },
      failed(404, "ERR_NOT_FOUND", "a"),
      { status: 200, key: "a" },
    ]);
  });

  test("keeps values as they were sent", async () => {
    using api = await startTestApi({ engine });
    const value = '{"b":1.0,"a":[12345678901234567890, 1e400],"a":"\\ud800"}';
    await batch(api, `[{"value": ${value} ,"key":"k","op":"set"}]`);
    expect((await api.call("GET", "/api/cache/k?raw")).body).toBe(value);
    const answer = await batch(api, '[{"op":"get","key":"k"}]');
    expect(answer.body).toBe(`{"results":[{"status":200,"key":"k","value":${value}}]}`);
  });

  test("reads TTLs as POST does", async () => {
    using api = await startTestApi({ engine, defaultTtlMs: 60_000 });
    const ttls = { '"1s"': 1, '"0"': null, "0": null, null: 60, '"1h"': 3600 };
    for (const [ttl, leftSeconds] of Object.entries(ttls)) {
      await batch(api, `[{"op":"set","key":"k","value":1,"ttl":${ttl}}]`);
      expect(ttlIn(await api.call("GET", "/api/cache/k"))).toBe(leftSeconds);
    }
  });

  test("goes on after operations that fail", async () => {
    using api = await startTestApi({ engine });
    const operations = [
      '{"op":"set","key":"ok","value":1}',
      '"text"',
      "null",
      "{}",
      '{"op":"get"}',
      '{"op":"get","key":1}',
      '{"op":"get","key":""}',
      '{"op":"get","key":"\\u0000"}',
      '{"op":"get","key":"\\udc00"}',
      `{"op":"get","key":"${"x".repeat(1025)}"}`,
      '{"key":"k"}',
      '{"op":"increment","key":"k"}',
      '{"op":1,"key":"k"}',
      '{"op":"set","key":"k"}',
      '{"op":"set","key":"k","value":1,"ttl":"-1s"}',
      '{"op":"set","key":"k","value":1,"ttl":5}',
      '{"op":"get","key":"ok"}',
    ];
    expect(await resultsOf(api, `[${operations.join()}]`)).toEqual([
      { status: 200, key: "ok" },
      failed(400, "ERR_BAD_OPERATION"),
      failed(400, "ERR_BAD_OPERATION"),
      failed(400, "ERR_INVALID_KEY"),
      failed(400, "ERR_INVALID_KEY"),
      failed(400, "ERR_INVALID_KEY"),
      failed(400, "ERR_INVALID_KEY"),
      failed(400, "ERR_INVALID_KEY"),
      failed(400, "ERR_INVALID_KEY"),
      failed(400, "ERR_INVALID_KEY"),
      failed(400, "ERR_BAD_OPERATION", "k"),
      failed(400, "ERR_BAD_OPERATION", "k"),
      failed(400, "ERR_BAD_OPERATION", "k"),
      failed(400, "ERR_NO_VALUE", "k"),
      failed(400, "ERR_INVALID_TTL", "k"),
      failed(400, "ERR_INVALID_TTL", "k"),
      { status: 200, key: "ok", value: 1 },
    ]);
  });

  test("gives keys as JSON, and bytes as base64 with their type", async () => {
    using api = await startTestApi({ engine });
    await api.call("PUT", "/api/cache/%22%5C%C3%A4", { headers: { "Content-Type": "image/png" }, body: "\x00ÿ" });
    expect(await resultsOf(api, [{ op: "get", key: '"\\ä' }])).toEqual([
      { status: 200, key: '"\\ä', content_type: "image/png", base64: Buffer.from("\x00ÿ").toString("base64") },
    ]);
  });

  test("that is empty has no results", async () => {
    using api = await startTestApi({ engine });
    expect((await batch(api, "[ ]")).body).toBe('{"results":[]}');
  });

  test("may hold 1,000 operations and no more", async () => {
    using api = await startTestApi({ engine });
    const sets = Array.from({ length: 1_000 }, (_, number) => ({ op: "set", key: `k${number}`, value: number }));
    expect(await resultsOf(api, sets)).toEqual(sets.map(({ key }) => ({ status: 200, key })));
    const gets = sets.map(({ key }) => ({ op: "get", key }));
    expect(await resultsOf(api, gets)).toEqual(sets.map(({ key, value }) => ({ status: 200, key, value })));
    const one = { op: "delete", key: "k0" };
    expectError(
      await batch(
        api,
        Array.from({ length: 1_001 }, () => one),
      ),
      413,
      "ERR_TOO_LARGE",
    );
    expect((await api.call("GET", "/api/cache/k0")).status).toBe(200);
  });

  test.each([
    ["", "ERR_INVALID_JSON"],
    ["[]", "ERR_INVALID_JSON"],
    ["{}", "ERR_BAD_BATCH"],
    ['{"operations":{}}', "ERR_BAD_BATCH"],
    ['{"operations":null}', "ERR_BAD_BATCH"],
    ['{"operations":[],"operations":1}', "ERR_BAD_BATCH"],
  ])("with the body %p is refused", async (body, code) => {
    using api = await startTestApi({ engine });
    expectError(await api.call("POST", "/api/batch", { body }), 400, code);
  });

  test.each([
    '{"operations":[{"op":"set","key":"k","value":1},{"op":"set","key":"l","value":01}]}',
    '{"operations":[{"op":"set","key":"k","value":1}',
    '{"operations":[{"op":"set","key":"k","value":1},]}',
    '{"operations":[{"op":"set","key":"k","value":1}]} x',
  ])("that is no JSON to its end does nothing: %s", async (body) => {
    using api = await startTestApi({ engine });
    expectError(await api.call("POST", "/api/batch", { body }), 400, "ERR_INVALID_JSON");
    expect((await api.call("GET", "/api/cache/k")).status).toBe(404);
  });

  test("takes the last of lists with the same name", async () => {
    using api = await startTestApi({ engine });
    const set = (key: string) => `[{"op":"set","key":"${key}","value":1}]`;
    await api.call("POST", "/api/batch", { body: `{"operations":${set("no")},"operations":${set("yes")}}` });
    expect((await api.call("GET", "/api/keys")).body).toBe('{"keys":["yes"],"cursor":null}');
  });

  test("refuses a value over 16 MiB as one operation", async () => {
    using api = await startTestApi({ engine });
    const value = `"${"x".repeat(MAX_VALUE_BYTES - 1)}"`;
    const body = `[{"op":"set","key":"big","value":${value}},{"op":"set","key":"small","value":1}]`;
    expect(await resultsOf(api, body)).toEqual([failed(413, "ERR_TOO_LARGE", "big"), { status: 200, key: "small" }]);
  });

  test("holds 32 MiB of values at most, whatever is asked for", async () => {
    using api = await startTestApi({ engine });
    await api.call("PUT", "/api/cache/big", { body: Buffer.alloc(15 * 1024 * 1024) });
    await api.call("POST", "/api/cache", { body: '{"key":"small","value":1}' });
    const keys = ["big", "big", "big", "big", "small"];
    const results = await resultsOf(
      api,
      keys.map((key) => ({ op: "get", key })),
    );
    const found = { status: 200, key: "big", content_type: "application/octet-stream", base64: expect.any(String) };
    const full = failed(413, "ERR_TOO_LARGE", "big");
    expect(results).toEqual([found, found, full, full, { status: 200, key: "small", value: 1 }]);
    expect(await resultsOf(api, [{ op: "get", key: "big" }])).toEqual([found]);
  }, 300_000);
});

test("operations of a batch that the engine can't do now fail one by one, with 503", async () => {
  const failure = new EngineUnavailableError("the engine is away: try again", 1_500);
  using api = await startTestApi({
    engine: (clock) => {
      const engine = later(clock);
      engine.failure = failure;
      return engine;
    },
  });
  const operations = [
    { op: "get", key: "a" },
    { op: "set", key: "b", value: 1 },
    { op: "delete", key: "c" },
  ];
  expect(await resultsOf(api, operations)).toEqual(
    ["a", "b", "c"].map((key) => failed(503, "ERR_ENGINE_UNAVAILABLE", key)),
  );
});
