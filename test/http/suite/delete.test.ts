import { describe, expect, test } from "bun:test";
import { ANSWERS, RestNode } from "../../support/rest-node.ts";

describe.each(ANSWERS)("where the engine answers %s,", (answers) => {
  async function withKeys(keys: readonly string[]): Promise<RestNode> {
    const node = new RestNode({ answers });
    const operations = keys.map((key) => ({ op: "set", key, value: 1 }));
    await node.call("POST", "/api/batch", { body: JSON.stringify({ operations }) });
    return node;
  }

  async function keysOf(node: RestNode): Promise<string[]> {
    return (await node.call("GET", "/api/keys?limit=10000")).json().keys.sort();
  }

  describe("DELETE of one entry", () => {
    test("succeeds also where there was none, and leaves the others", async () => {
      using node = await withKeys(["key", "other"]);
      for (let round = 0; round < 2; round++) {
        const answer = await node.call("DELETE", "/api/cache/key");
        expect([answer.status, answer.text]).toEqual([200, '{"status":"success"}']);
        expect((await node.get("key")).status).toBe(404);
      }
      expect(await keysOf(node)).toEqual(["other"]);
    });

    test("is no pattern", async () => {
      using node = await withKeys(["user:1", "user:*"]);
      await node.call("DELETE", "/api/cache/user:*");
      expect(await keysOf(node)).toEqual(["user:1"]);
    });

    test("lets the key be written anew", async () => {
      using node = await withKeys(["key"]);
      await node.call("DELETE", "/api/cache/key");
      await node.post("key", "2");
      expect((await node.get("key")).json().value).toBe(2);
    });
  });

  describe("DELETE by pattern", () => {
    const KEYS = ["user:a", "user:b", "user:c", "user:1", "other*", "a\\b", "[x]", "ärger", "😀:1", "^"];

    test.each([
      ["user:*", ["user:1", "user:a", "user:b", "user:c"]],
      ["*:1", ["user:1", "😀:1"]],
      ["*", [...KEYS].sort()],
      ["user:?", ["user:1", "user:a", "user:b", "user:c"]],
      ["user:[ac]", ["user:a", "user:c"]],
      ["user:[a-b]", ["user:a", "user:b"]],
      ["user:[b-a]", ["user:a", "user:b"]],
      ["user:[a-z]", ["user:a", "user:b", "user:c"]],
      ["user:[^a-z]", ["user:1"]],
      ["user:[^a]", ["user:1", "user:b", "user:c"]],
      ["other\\*", ["other*"]],
      ["*\\*", ["other*"]],
      ["a\\\\b", ["a\\b"]],
      ["\\[x]", ["[x]"]],
      ["[\\[]x?", ["[x]"]],
      ["ä*", ["ärger"]],
      ["?rger", ["ärger"]],
      ["[ä-ü]*", ["ärger"]],
      ["?:1", ["😀:1"]],
      ["[😀]:*", ["😀:1"]],
      ["user:a", ["user:a"]],
      ["User:*", []],
      ["nothing*", []],
    ])("%s removes %j", async (pattern, removed) => {
      using node = await withKeys(KEYS);
      const answer = await node.call("DELETE", `/api/cache?pattern=${encodeURIComponent(pattern)}`);
      expect([answer.status, answer.text]).toEqual([200, `{"status":"success","deleted":${removed.length}}`]);
      expect(await keysOf(node)).toEqual(KEYS.filter((key) => !removed.includes(key)).sort());
    });

    test("takes + in the query for a space", async () => {
      using node = await withKeys(["a b", "a+b"]);
      expect((await node.call("DELETE", "/api/cache?pattern=a+b")).json().deleted).toBe(1);
      expect(await keysOf(node)).toEqual(["a+b"]);
    });

    test("finds every one of many", async () => {
      using node = await withKeys(
        Array.from({ length: 1_000 }, (_, number) => `${number % 3 === 0 ? "x" : "y"}:${number}`),
      );
      expect((await node.call("DELETE", "/api/cache?pattern=x:*")).json().deleted).toBe(334);
      expect((await keysOf(node)).filter((key) => key.startsWith("x"))).toEqual([]);
      expect((await node.call("GET", "/api/stats")).json().entries).toBe(666);
    });

    test("counts no entry that had expired", async () => {
      using node = await withKeys(["k:lives"]);
      await node.post("k:expired", "1", ',"ttl":"1s"');
      node.clock.nowMs += 1_000;
      expect((await node.call("DELETE", "/api/cache?pattern=k:*")).json().deleted).toBe(1);
    });

    test("takes its time from nobody where the pattern is hard", async () => {
      using node = await withKeys(["a".repeat(1_000)]);
      const pattern = `${"a*".repeat(500)}b`;
      expect((await node.call("DELETE", `/api/cache?pattern=${pattern}`)).json().deleted).toBe(0);
    });

    test.each([
      ["?pattern=", "ERR_INVALID_PATTERN"],
      ["?pattern", "ERR_INVALID_PATTERN"],
      ["?pattern=&replicated=true", "ERR_INVALID_PATTERN"],
      [`?pattern=${"x".repeat(1_025)}`, "ERR_INVALID_PATTERN"],
      ["?tag=x", "ERR_TAGS_UNSUPPORTED"],
      ["?tag=", "ERR_TAGS_UNSUPPORTED"],
      ["?pattern=*&tag=x", "ERR_TAGS_UNSUPPORTED"],
      ["?pattern=%zz", "ERR_BAD_QUERY"],
      ["?pattern=%FF", "ERR_BAD_QUERY"],
      ["?Pattern=x", "ERR_BAD_QUERY"],
      ["?patern=x&replicated=true", "ERR_BAD_QUERY"],
      ["?pattern=*&prefix=x", "ERR_BAD_QUERY"],
      ["?replicated=flase", "ERR_BAD_QUERY"],
      ["?pattern=*&replicated=maybe", "ERR_BAD_QUERY"],
    ])("with %s is refused and removes nothing", async (query, code) => {
      using node = await withKeys(["key"]);
      const answer = await node.call("DELETE", `/api/cache${query}`);
      expect([answer.status, answer.json().code]).toEqual([400, code]);
      expect(await keysOf(node)).toEqual(["key"]);
    });
  });

  test("DELETE by a parameter that is misspelt names it, and those that there are", async () => {
    using node = await withKeys(["key"]);
    const { error } = (await node.call("DELETE", "/api/cache?Pattern=x")).json();
    expect(error).toBe('the query has "Pattern": this call accepts pattern, tag, replicated, and nothing else');
  });

  describe("DELETE of everything", () => {
    test("counts what was there, and lets new entries be stored", async () => {
      using node = await withKeys(Array.from({ length: 100 }, (_, number) => `key:${number}`));
      const answer = await node.call("DELETE", "/api/cache");
      expect([answer.status, answer.text]).toEqual([200, '{"status":"success","deleted":100}']);
      expect((await node.call("DELETE", "/api/cache")).text).toBe('{"status":"success","deleted":0}');
      await node.post("key:1", "1");
      expect(await keysOf(node)).toEqual(["key:1"]);
    });
  });

  describe("mutations that come from a peer", () => {
    test.each(["replicated", "replicated=", "replicated=1", "replicated=0", "replicated=false", "replicated=true"])(
      "may say so by %s",
      async (parameter) => {
        using node = new RestNode({ answers });
        const answer = await node.call("POST", `/api/cache?${parameter}`, { body: '{"key":"key:1","value":1}' });
        expect([answer.status, await keysOf(node)]).toEqual([200, ["key:1"]]);
      },
    );

    test.each([
      ["POST", "/api/cache", '{"key":"key:1","value":2}'],
      ["PUT", "/api/cache/key:1", "2"],
      ["PATCH", "/api/cache/key:1", '{"increment":1}'],
      ["DELETE", "/api/cache/key:1", ""],
      ["POST", "/api/batch", '{"operations":[{"op":"delete","key":"key:1"}]}'],
    ])("that say so unclearly are refused: %s %s", async (method, path, body) => {
      using node = await withKeys(["key:1"]);
      const answer = await node.call(method, `${path}?replicated=TRUE`, { body });
      expect([answer.status, answer.json().code]).toEqual([400, "ERR_BAD_QUERY"]);
      expect((await node.get("key:1")).text).toBe('{"key":"key:1","value":1}');
    });

    test("are applied like any other", async () => {
      using node = new RestNode({ answers });
      const body = '{"key":"key:1","value":1}';
      expect((await node.call("POST", "/api/cache?replicated=true", { body })).text).toBe('{"status":"success"}');
      expect((await node.call("PUT", "/api/cache/key:2?ttl=1m&replicated=true", { body: "x" })).status).toBe(200);
      const counted = await node.call("PATCH", "/api/cache/key:3?replicated=true", { body: '{"increment":1}' });
      expect(counted.text).toBe('{"key":"key:3","value":1}');
      expect(await keysOf(node)).toEqual(["key:1", "key:2", "key:3"]);
      expect((await node.call("DELETE", "/api/cache/key:1?replicated=true")).text).toBe('{"status":"success"}');
      const byPattern = await node.call("DELETE", "/api/cache?pattern=key:[2]&replicated=true");
      expect(byPattern.text).toBe('{"status":"success","deleted":1}');
      expect(await keysOf(node)).toEqual(["key:3"]);
      expect((await node.call("DELETE", "/api/cache?replicated=true")).text).toBe('{"status":"success","deleted":1}');
    });
  });
});
