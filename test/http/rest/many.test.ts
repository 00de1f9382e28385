import { describe, expect, test } from "bun:test";
import { RestNode } from "../../support/rest-node.ts";

function batch(node: RestNode, operations: readonly unknown[]) {
  return node.call("POST", "/api/batch", { body: JSON.stringify({ operations }) });
}

describe("DELETE", () => {
  test("of one entry succeeds also where there was none", async () => {
    using node = new RestNode();
    await node.post("key", "1");
    for (let round = 0; round < 2; round++) {
      expect((await node.call("DELETE", "/api/cache/key")).text).toBe('{"status":"success"}');
      expect((await node.get("key")).status).toBe(404);
    }
  });

  test.each([
    ["user:*", 3],
    ["user:[a-b]", 2],
    ["user:?", 3],
    ["*\\**", 1],
    ["[^u]*", 2],
    ["ä*", 1],
    ["*", 5],
    ["nothing*", 0],
  ])("by the pattern %s removes %d", async (pattern, count) => {
    using node = new RestNode();
    for (const key of ["user:a", "user:b", "user:c", "other*", "ärger"]) await node.post(key, "1");
    const answer = await node.call("DELETE", `/api/cache?pattern=${encodeURIComponent(pattern)}&replicated=true`);
    expect(answer.text).toBe(`{"status":"success","deleted":${count}}`);
    expect((await node.call("GET", "/api/stats")).json().entries).toBe(5 - count);
  });

  test("without a pattern removes everything", async () => {
    using node = new RestNode();
    for (let number = 0; number < 100; number++) await node.post(`key:${number}`, "1");
    expect((await node.call("DELETE", "/api/cache")).text).toBe('{"status":"success","deleted":100}');
    expect((await node.call("GET", "/api/keys")).text).toBe('{"keys":[],"cursor":null}');
  });

  test.each([
    ["?pattern=", "ERR_INVALID_PATTERN"],
    ["?tag=x", "ERR_TAGS_UNSUPPORTED"],
    ["?pattern=%zz", "ERR_BAD_QUERY"],
  ])("with %s is refused and removes nothing", async (query, code) => {
    using node = new RestNode();
    await node.post("key", "1");
    const answer = await node.call("DELETE", `/api/cache${query}`);
    expect([answer.status, answer.json().code]).toEqual([400, code]);
    expect((await node.get("key")).status).toBe(200);
  });

  test("and other mutations are accepted from peers", async () => {
    using node = new RestNode();
    const body = '{"key":"key","value":1}';
    expect((await node.call("POST", "/api/cache?replicated=true", { body })).status).toBe(200);
    expect((await node.call("DELETE", "/api/cache/key?replicated=true")).text).toBe('{"status":"success"}');
    expect((await node.get("key")).status).toBe(404);
  });
});

describe("a batch", () => {
  test("does every operation, in order, and answers each", async () => {
    using node = new RestNode();
    await node.call("PUT", "/api/cache/bytes", { headers: { "Content-Type": "text/plain" }, body: "ä" });
    const body =
      '{"operations":[{"op":"set","key":"k\\"ä","value": {"b":1.0} ,"ttl":"1m"},{"op":"get","key":"k\\"ä"},' +
      '{"op":"get","key":"absent"},{"op":"delete","key":"k\\"ä"},{"op":"get","key":"k\\"ä"},{"op":"get","key":"bytes"},' +
      '{"op":"grow","key":"k"},{"op":"set","key":"k"},{"op":"get"},7,{"op":"set","key":"k","value":1,"ttl":"x"}]}';
    const answer = await node.call("POST", "/api/batch", { body });
    expect(answer.text).toContain('{"status":200,"key":"k\\"ä","value":{"b":1.0}}');
    expect(answer.json().results).toMatchObject([
      { status: 200, key: 'k"ä' },
      { status: 200, key: 'k"ä', value: { b: 1 } },
      { status: 404, key: "absent", code: "ERR_NOT_FOUND" },
      { status: 200, key: 'k"ä' },
      { status: 404, key: 'k"ä' },
      { status: 200, key: "bytes", content_type: "text/plain", base64: "w6Q=" },
      { status: 400, key: "k", code: "ERR_BAD_OPERATION" },
      { status: 400, key: "k", code: "ERR_NO_VALUE" },
      { status: 400, code: "ERR_INVALID_KEY" },
      { status: 400, code: "ERR_BAD_OPERATION" },
      { status: 400, key: "k", code: "ERR_INVALID_TTL" },
    ]);
  });

  test("of 1,000 operations is done whole, of 1,001 not at all", async () => {
    using node = new RestNode();
    const sets = Array.from({ length: 1_000 }, (_, number) => ({ op: "set", key: `key:${number}`, value: number }));
    expect((await batch(node, sets)).json().results).toHaveLength(1_000);
    const gets = sets.map(({ key }) => ({ op: "get", key }));
    const { results } = (await batch(node, gets)).json();
    expect(results.map((result: { value: number }) => result.value)).toEqual(sets.map(({ value }) => value));
    const refused = await batch(node, [...sets, { op: "delete", key: "key:0" }]);
    expect([refused.status, refused.json().code]).toEqual([413, "ERR_TOO_LARGE"]);
    expect((await node.get("key:0")).status).toBe(200);
  });

  test("that is not valid does nothing", async () => {
    using node = new RestNode();
    const body = '{"operations":[{"op":"set","key":"key","value":1},}';
    expect((await node.call("POST", "/api/batch", { body })).json().code).toBe("ERR_INVALID_JSON");
    for (const wrong of ["{}", '{"operations":{}}', '{"operations":null}']) {
      expect((await node.call("POST", "/api/batch", { body: wrong })).json().code).toBe("ERR_BAD_BATCH");
    }
    expect((await node.get("key")).status).toBe(404);
  });

  test("without operations has no results", async () => {
    using node = new RestNode();
    expect((await batch(node, [])).text).toBe('{"results":[]}');
  });
});

describe("keys", () => {
  test("come in pages, every one of them, and by pattern", async () => {
    using node = new RestNode();
    const keys = Array.from({ length: 500 }, (_, number) => `${number % 2 === 0 ? "even" : "odd"}:${number}`);
    await batch(
      node,
      keys.map((key) => ({ op: "set", key, value: 1 })),
    );
    const found: string[] = [];
    let cursor = "";
    do {
      const page = (await node.call("GET", `/api/keys?pattern=even:*&limit=7&cursor=${cursor}`)).json();
      expect(page.keys.length).toBeLessThanOrEqual(7);
      found.push(...page.keys);
      cursor = page.cursor;
    } while (cursor !== null);
    expect(found.sort()).toEqual(keys.filter((key) => key.startsWith("even")).sort());
  });

  test("that are few among many come in one call", async () => {
    using node = new RestNode();
    for (let start = 0; start < 20_000; start += 1_000) {
      const operations = Array.from({ length: 1_000 }, (_, at) => ({ op: "set", key: `many:${start + at}`, value: 1 }));
      await batch(node, operations);
    }
    await node.post("few", "1");
    const page = (await node.call("GET", "/api/keys?pattern=few")).json();
    expect(page).toEqual({ keys: ["few"], cursor: null });
  });

  test.each(["limit=0", "limit=10001", "limit=x", "limit=-1", "cursor=!", "pattern=%zz"])(
    "%s is refused",
    async (query) => {
      using node = new RestNode();
      expect((await node.call("GET", `/api/keys?${query}`)).status).toBe(400);
    },
  );
});
