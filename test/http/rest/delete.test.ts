import { describe, expect, test } from "bun:test";
import { RestNode } from "../../support/rest-node.ts";

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
