import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { RestNode } from "../../support/rest-node.ts";

const TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736";
const TRACEPARENT = `00-${TRACE_ID}-00f067aa0ba902b7-01`;
const MIB = 1024 * 1024;

const node = new RestNode();
beforeAll(async () => {
  await node.post("text", '"text"');
  await node.post("most", "9007199254740991");
});
afterAll(() => {
  node[Symbol.dispose]();
  expect(node.errors).toEqual([]);
});

type Headers = Readonly<Record<string, string>>;

/** One of each kind of answer that is no success: status, code, method, path, body, headers. */
const FAILURES: readonly (readonly [number, string, string, string, string, Headers?])[] = [
  [400, "ERR_INVALID_JSON", "POST", "/api/cache", "{"],
  [400, "ERR_NO_VALUE", "POST", "/api/cache", '{"key":"a"}'],
  [400, "ERR_INVALID_KEY", "POST", "/api/cache", '{"value":1}'],
  [400, "ERR_INVALID_JSON", "POST", "/api/cache?replicated=true", "{"],
  [400, "ERR_INVALID_TTL", "POST", "/api/cache", '{"key":"a","value":1,"ttl":"-1s"}'],
  [400, "ERR_TAGS_UNSUPPORTED", "POST", "/api/cache", '{"key":"a","value":1,"tags":["b"]}'],
  [413, "ERR_TOO_LARGE", "POST", "/api/cache", `{"key":"a","value":"${"v".repeat(16 * MIB)}"}`],
  [413, "ERR_BODY_TOO_LARGE", "POST", "/api/cache", `{"key":"a","value":"${"v".repeat(17 * MIB)}"}`],
  [412, "ERR_PRECONDITION_FAILED", "POST", "/api/cache", '{"key":"text","value":1}', { "If-None-Match": "*" }],
  [404, "ERR_NOT_FOUND", "GET", "/api/cache/absent", ""],
  [400, "ERR_INVALID_KEY", "GET", "/api/cache/%00", ""],
  [400, "ERR_BAD_QUERY", "GET", "/api/cache/a?raw=%zz", ""],
  [400, "ERR_INVALID_TTL", "PUT", "/api/cache/a?ttl=x", "1"],
  [400, "ERR_BAD_CONTENT_TYPE", "PUT", "/api/cache/a", "1", { "Content-Type": "x".repeat(300) }],
  [404, "ERR_NOT_FOUND", "PATCH", "/api/cache/absent", '{"ttl":"1m"}'],
  [409, "ERR_NOT_AN_INTEGER", "PATCH", "/api/cache/text", '{"increment":1}'],
  [409, "ERR_OUT_OF_RANGE", "PATCH", "/api/cache/most", '{"increment":1}'],
  [400, "ERR_BAD_INCREMENT", "PATCH", "/api/cache/most", '{"increment":1.5}'],
  [400, "ERR_BAD_PATCH", "PATCH", "/api/cache/most", "{}"],
  [412, "ERR_PRECONDITION_FAILED", "DELETE", "/api/cache/text", "", { "If-Match": '"1.1"' }],
  [400, "ERR_BAD_CONDITION", "DELETE", "/api/cache/text?replicated=true", "", { "If-Match": "x" }],
  [400, "ERR_INVALID_PATTERN", "DELETE", "/api/cache?pattern=&replicated=true", ""],
  [400, "ERR_TAGS_UNSUPPORTED", "DELETE", "/api/cache?tag=a", ""],
  [400, "ERR_BAD_BATCH", "POST", "/api/batch", "{}"],
  [413, "ERR_TOO_LARGE", "POST", "/api/batch", `{"operations":[${"1,".repeat(1_000)}1]}`],
  [400, "ERR_BAD_LIMIT", "GET", "/api/keys?limit=0", ""],
  [400, "ERR_INVALID_CURSOR", "GET", "/api/keys?cursor=x!", ""],
  [405, "ERR_METHOD_NOT_ALLOWED", "POST", "/api/stats", ""],
  [404, "ERR_UNKNOWN_PATH", "GET", "/api/unknown", ""],
];

describe("an error", () => {
  test.each(FAILURES)("%p %s, as of %s %s, has the caller's trace id", async (...failure) => {
    const [status, code, method, path, body, headers] = failure;
    const answer = await node.call(method, path, { body, headers: { ...headers, traceparent: TRACEPARENT } });
    expect([answer.status, answer.headers.get("content-type")]).toEqual([status, "application/json"]);
    const error = answer.json();
    expect(error).toEqual({ error: expect.stringMatching(/.{10}/), code, trace_id: TRACE_ID });
    expect(answer.headers.get("content-length")).toBe(String(answer.body.length));
  });

  test.each([
    undefined,
    "junk",
    `00-${TRACE_ID.toUpperCase()}-00f067aa0ba902b7-01`,
    `00-${"0".repeat(32)}-00f067aa0ba902b7-01`,
    `ff-${TRACE_ID}-00f067aa0ba902b7-01`,
  ])("has a trace id of its own where traceparent is %p", async (traceparent) => {
    const headers: Headers = traceparent === undefined ? {} : { traceparent };
    const ids: string[] = [];
    for (let call = 0; call < 2; call++) {
      const { trace_id: traceId } = (await node.call("GET", "/api/cache/absent", { headers })).json();
      expect(traceId).toMatch(/^[0-9a-f]{32}$/);
      ids.push(traceId);
    }
    expect(new Set([...ids, TRACE_ID, "0".repeat(32)]).size).toBe(4);
  });

  test("leaves what was stored as it was", async () => {
    expect((await node.get("text")).text).toBe('{"key":"text","value":"text"}');
    expect((await node.get("most")).text).toBe('{"key":"most","value":9007199254740991}');
    expect((await node.get("a")).status).toBe(404);
  });
});
