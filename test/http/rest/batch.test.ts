import { describe, expect, test } from "bun:test";
import { RestNode } from "../../support/rest-node.ts";

function batch(node: RestNode, operations: readonly unknown[]) {
  return node.call("POST", "/api/batch", { body: JSON.stringify({ operations }) });
}

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
