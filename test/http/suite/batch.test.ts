import { describe, expect, test } from "bun:test";
import { EngineUnavailableError } from "../../../src/engine/engine.ts";
import { MAX_VALUE_BYTES } from "../../../src/model/entry.ts";
import { later, startTestApi, type TestApi, ttlIn, WAYS_TO_ANSWER } from "../../support/api.ts";
import { ANSWERS, type RestAnswer, RestNode } from "../../support/rest-node.ts";

function send(node: RestNode, body: string | Buffer): Promise<RestAnswer> {
  return node.call("POST", "/api/batch", { body });
}

function batch(node: RestNode, operations: readonly unknown[]): Promise<RestAnswer> {
  return send(node, JSON.stringify({ operations }));
}

describe.each(ANSWERS)("a batch, where the engine answers %s,", (answers) => {
  test("does every operation, in order, and answers each", async () => {
    using node = new RestNode({ answers });
    const answer = await batch(node, [
      { op: "get", key: "key" },
      { op: "set", key: "key", value: 1 },
      { op: "get", key: "key" },
      { op: "set", key: "key", value: [2] },
      { op: "set", key: "other", value: null },
      { op: "get", key: "key" },
      { op: "delete", key: "key" },
      { op: "get", key: "key" },
      { op: "delete", key: "key" },
      { op: "get", key: "other" },
    ]);
    expect([answer.status, answer.headers.get("content-type")]).toEqual([200, "application/json"]);
    const message = "the cache has no entry under this key: put one, or check the key";
    const missed = { status: 404, key: "key", code: "ERR_NOT_FOUND", error: message };
    expect(answer.json()).toEqual({
      results: [
        missed,
        { status: 200, key: "key" },
        { status: 200, key: "key", value: 1 },
        { status: 200, key: "key" },
        { status: 200, key: "other" },
        { status: 200, key: "key", value: [2] },
        { status: 200, key: "key" },
        missed,
        { status: 200, key: "key" },
        { status: 200, key: "other", value: null },
      ],
    });
    expect((await node.get("other")).text).toBe('{"key":"other","value":null}');
  });

  test("keeps values byte for byte", async () => {
    using node = new RestNode({ answers });
    const values = [
      "1.0",
      "12345678901234567890",
      "-0",
      '{"a":[1e400],"a":"\\ud800"}',
      '"\\u00e4\\/ä😀"',
      '{ "b" : 1,\n "a":[ ] , "b":2}',
      "null",
    ];
    const sets = values.map((value, at) => `{"op":"set","key":"k${at}","value": ${value}\t}`);
    const gets = values.map((_, at) => `{"op":"get","key":"k${at}"}`);
    const set = await send(node, ` {"operations" : [ ${sets.join(" , ")} ] } `);
    expect(set.json().results).toEqual(values.map((_, at) => ({ status: 200, key: `k${at}` })));
    const results = values.map((value, at) => `{"status":200,"key":"k${at}","value":${value}}`);
    expect((await send(node, `{"operations":[${gets.join(",")}]}`)).text).toBe(`{"results":[${results.join(",")}]}`);
  });

  test("gives values that aren't JSON as base64 with their type", async () => {
    using node = new RestNode({ answers });
    const bytes = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte));
    await node.call("PUT", "/api/cache/bytes", { headers: { "Content-Type": 'text/x; a="b"' }, body: bytes });
    await node.call("PUT", "/api/cache/empty");
    const operations = ["bytes", "empty"].map((key) => ({ op: "get", key }));
    expect((await batch(node, operations)).json().results).toEqual([
      { status: 200, key: "bytes", content_type: 'text/x; a="b"', base64: bytes.toString("base64") },
      { status: 200, key: "empty", content_type: "application/octet-stream", base64: "" },
    ]);
  });

  test.each(['qu"ote', "back\\slash", "ä😀", "a/b c+d%", "__proto__", "toString", "k".repeat(1_024), "😀".repeat(256)])(
    "takes the key %j",
    async (key) => {
      using node = new RestNode({ answers });
      const operations = ["set", "get", "delete", "get"].map((op) => ({ op, key, value: 1 }));
      expect((await batch(node, operations)).json().results).toMatchObject([
        { status: 200, key },
        { status: 200, key, value: 1 },
        { status: 200, key },
        { status: 404, key },
      ]);
    },
  );

  test("reads TTLs as POST does", async () => {
    using node = new RestNode({ answers, defaultTtlMs: 60_000 });
    const ttls = { default: undefined, null: null, zero: "0", number: 0, second: "1s" };
    await batch(
      node,
      Object.entries(ttls).map(([key, ttl]) => ({ op: "set", key, value: 1, ttl })),
    );
    const ages = await Promise.all(Object.keys(ttls).map(async (key) => ttlIn(await node.get(key))));
    expect(ages).toEqual([60, 60, null, null, 1]);
  });

  test.each([
    ["7", "ERR_BAD_OPERATION"],
    ['"text"', "ERR_BAD_OPERATION"],
    ['{"op":"get","key":"\\udc00"}', "ERR_INVALID_KEY"],
    ['{"op":1,"key":"k"}', "ERR_BAD_OPERATION"],
    ["null", "ERR_BAD_OPERATION"],
    ['["get","key"]', "ERR_BAD_OPERATION"],
    ["{}", "ERR_INVALID_KEY"],
    ['{"op":"get"}', "ERR_INVALID_KEY"],
    ['{"op":"get","key":""}', "ERR_INVALID_KEY"],
    ['{"op":"get","key":7}', "ERR_INVALID_KEY"],
    ['{"op":"set","key":"a\\u0000","value":1}', "ERR_INVALID_KEY"],
    [`{"op":"get","key":"${"k".repeat(1_025)}"}`, "ERR_INVALID_KEY"],
    ['{"key":"key"}', "ERR_BAD_OPERATION"],
    ['{"op":"GET","key":"key"}', "ERR_BAD_OPERATION"],
    ['{"op":["get"],"key":"key"}', "ERR_BAD_OPERATION"],
    ['{"op":"increment","key":"key","increment":1}', "ERR_BAD_OPERATION"],
    ['{"op":"set","key":"key"}', "ERR_NO_VALUE"],
    ['{"op":"set","key":"key","value":1,"ttl":"-1s"}', "ERR_INVALID_TTL"],
    ['{"op":"set","key":"key","value":1,"ttl":5}', "ERR_INVALID_TTL"],
    ['{"op":"set","key":"key","value":1,"tags":["red"]}', "ERR_TAGS_UNSUPPORTED"],
  ])("answers %j with %s, does nothing of it, and does the others", async (operation, code) => {
    using node = new RestNode({ answers });
    const others = ['{"op":"set","key":"before","value":1}', '{"op":"set","key":"behind","value":2}'];
    const answer = await send(node, `{"operations":[${others[0]},${operation},${others[1]}]}`);
    const { results } = answer.json();
    expect([answer.status, results.length]).toEqual([200, 3]);
    expect([results[0], results[2]]).toEqual([
      { status: 200, key: "before" },
      { status: 200, key: "behind" },
    ]);
    expect(results[1]).toMatchObject({ status: 400, code, error: expect.any(String) });
    expect((await node.call("GET", "/api/keys")).json().keys.sort()).toEqual(["before", "behind"]);
  });

  test("of 1,000 operations is done whole, of 1,001 not at all", async () => {
    using node = new RestNode({ answers });
    const sets = Array.from({ length: 1_000 }, (_, number) => ({ op: "set", key: `key:${number}`, value: number }));
    expect((await batch(node, sets)).json().results).toHaveLength(1_000);
    const gets = sets.map(({ key }) => ({ op: "get", key }));
    const { results } = (await batch(node, gets)).json();
    expect(results.map((result: { value: number }) => result.value)).toEqual(sets.map(({ value }) => value));
    const refused = await batch(node, [{ op: "delete", key: "key:0" }, ...sets]);
    expect([refused.status, refused.json().code]).toEqual([413, "ERR_TOO_LARGE"]);
    expect((await node.get("key:0")).status).toBe(200);
  });

  test("answers 150 gets in a row, some of them of nothing, and what comes between", async () => {
    using node = new RestNode({ answers });
    const numbers = Array.from({ length: 150 }, (_, number) => number);
    const even = numbers.filter((number) => number % 2 === 0);
    await batch(
      node,
      even.map((number) => ({ op: "set", key: `key:${number}`, value: number })),
    );
    const gets = numbers.map((number) => ({ op: "get", key: `key:${number}` }));
    const { results } = (await batch(node, [...gets, 7, { op: "delete", key: "key:0" }, ...gets])).json();
    const found = (result: { status: number; key: string; value?: number }) => [
      result.status,
      result.key,
      result.value,
    ];
    const expected = numbers.map((number) =>
      number % 2 === 0 ? [200, `key:${number}`, number] : [404, `key:${number}`, undefined],
    );
    expect(results.slice(0, 150).map(found)).toEqual(expected);
    expect(results.slice(152).map(found)).toEqual([[404, "key:0", undefined], ...expected.slice(1)]);
  });

  test.each([
    ['{"operations":[{"op":"set","key":"key","value":1},}', "ERR_INVALID_JSON"],
    ['{"operations":[{"op":"set","key":"key","value":1}]', "ERR_INVALID_JSON"],
    ['{"operations":[{"op":"set","key":"key","value":1}]}x', "ERR_INVALID_JSON"],
    ['{"operations":[{"op":"set","key":"key","value":1},{"op":"set","key":"b","value":01}]}', "ERR_INVALID_JSON"],
    ['{"operations":[{"op":"set","key":"key","value":1} {"op":"get","key":"key"}]}', "ERR_INVALID_JSON"],
    ['[{"op":"set","key":"key","value":1}]', "ERR_INVALID_JSON"],
    ["", "ERR_INVALID_JSON"],
    ["[]", "ERR_INVALID_JSON"],
    ['{"operations":[{"op":"set","key":"k","value":1},]}', "ERR_INVALID_JSON"],
    ["{}", "ERR_BAD_BATCH"],
    ['{"operations":{"op":"set","key":"key","value":1}}', "ERR_BAD_BATCH"],
    ['{"operations":{}}', "ERR_BAD_BATCH"],
    ['{"operations":null}', "ERR_BAD_BATCH"],
    ['{"operations":[],"operations":1}', "ERR_BAD_BATCH"],
    ['{"operations":[{"op":"set","key":"key","value":1}],"operations":7}', "ERR_BAD_BATCH"],
  ])("%j is refused, and nothing of it is done", async (body, code) => {
    using node = new RestNode({ answers });
    const answer = await send(node, body);
    expect([answer.status, answer.json().code]).toEqual([400, code]);
    expect((await node.call("GET", "/api/stats")).json()).toMatchObject({ entries: 0, sets: 0 });
  });

  test("in another encoding than UTF-8 is refused", async () => {
    using node = new RestNode({ answers });
    const body = Buffer.from('{"operations":[{"op":"set","key":"key","value":"\xe4"}]}', "latin1");
    expect((await send(node, body)).json().code).toBe("ERR_INVALID_JSON");
    expect((await node.get("key")).status).toBe(404);
  });

  test("takes the last of repeated members", async () => {
    using node = new RestNode({ answers });
    const first = '"operations":[{"op":"set","key":"first","value":1}]';
    const last = '"operations":[{"op":"get","op":"set","key":"a","key":"last","value":1,"value":2}]';
    expect((await send(node, `{${first},${last}}`)).text).toBe('{"results":[{"status":200,"key":"last"}]}');
    expect((await node.get("first")).status).toBe(404);
    expect((await node.get("last")).text).toBe('{"key":"last","value":2}');
  });

  test("without operations has no results", async () => {
    using node = new RestNode({ answers });
    expect((await batch(node, [])).text).toBe('{"results":[]}');
  });

  test("after a larger one holds nothing of it", async () => {
    using node = new RestNode({ answers });
    const large = "v".repeat(2_000_000);
    await batch(node, [{ op: "set", key: "large", value: large }]);
    const answer = (await batch(node, [{ op: "get", key: "large" }])).json();
    expect(answer.results[0].value === large).toBe(true);
    await node.post("small", "1");
    expect((await batch(node, [{ op: "get", key: "small" }])).text).toBe(
      '{"results":[{"status":200,"key":"small","value":1}]}',
    );
  });
});

function batchOf(api: TestApi, operations: string | object[]) {
  const text = typeof operations === "string" ? operations : JSON.stringify(operations);
  return api.call("POST", "/api/batch", { body: `{"operations":${text}}` });
}

async function resultsOf(api: TestApi, operations: string | object[]): Promise<unknown[]> {
  const answer = await batchOf(api, operations);
  expect([answer.status, answer.headers.get("content-type")]).toEqual([200, "application/json"]);
  return JSON.parse(answer.body).results;
}

function failed(status: number, code: string, key?: string): unknown {
  return { status, ...(key === undefined ? {} : { key }), code, error: expect.any(String) };
}

describe.each(WAYS_TO_ANSWER)("a batch of much, where the engine answers %s,", (_, engine) => {
  test("gives keys as JSON, and bytes as base64 with their type", async () => {
    using api = await startTestApi({ engine });
    await api.call("PUT", "/api/cache/%22%5C%C3%A4", { headers: { "Content-Type": "image/png" }, body: "\x00ÿ" });
    expect(await resultsOf(api, [{ op: "get", key: '"\\ä' }])).toEqual([
      { status: 200, key: '"\\ä', content_type: "image/png", base64: Buffer.from("\x00ÿ").toString("base64") },
    ]);
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
