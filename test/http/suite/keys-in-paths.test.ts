import { afterAll, describe, expect, test } from "bun:test";
import { ANSWERS, RestNode } from "../../support/rest-node.ts";

const node = new RestNode();
afterAll(() => {
  node[Symbol.dispose]();
  expect(node.errors).toEqual([]);
});

const METHODS = ["GET", "HEAD", "PUT", "PATCH", "DELETE"];

describe.each(ANSWERS)("where the engine answers %s, a path names a key", (answers) => {
  const node = new RestNode({ answers });
  afterAll(() => {
    node[Symbol.dispose]();
    expect(node.errors).toEqual([]);
  });

  test.each([
    ["a", "a"],
    ["0", "0"],
    ["a/b", "a/b"],
    ["a%2Fb", "a/b"],
    ["a%2fb", "a/b"],
    ["/", "/"],
    ["//", "//"],
    ["a/", "a/"],
    ["a//b", "a//b"],
    [".", "."],
    ["..", ".."],
    ["%2E%2e", ".."],
    ["a/../b", "a/../b"],
    ["./a", "./a"],
    ["../cache/a", "../cache/a"],
    ["../../etc/passwd", "../../etc/passwd"],
    ["a+b", "a+b"],
    ["a%2Bb", "a+b"],
    ["a%20b", "a b"],
    ["a%2Bb%20c", "a+b c"],
    ["%3Fraw", "?raw"],
    ["%25zz", "%zz"],
    ["%20", " "],
    ["a%3Fb%23c", "a?b#c"],
    ["a%23b", "a#b"],
    ["a&b=c;d", "a&b=c;d"],
    ["user:1@x,y!$'()*", "user:1@x,y!$'()*"],
    ["~!$&'()*,;=:@", "~!$&'()*,;=:@"],
    ["%25", "%"],
    ["%2525", "%25"],
    ["%61", "a"],
    ["%22%5C", '"\\'],
    ['a"b\\c', 'a"b\\c'],
    ["%C3%A4", "ä"],
    ["a%CC%88", "a\u0308"],
    ["%F0%9F%98%80", "😀"],
    ["%C2%A0%E2%80%A8%EF%BB%BF", "\u00a0\u2028\ufeff"],
    ["%EF%BF%BF%F4%8F%BF%BF", "\uffff\u{10ffff}"],
    ["__proto__", "__proto__"],
    ["constructor", "constructor"],
    ["toString", "toString"],
    ["hasOwnProperty/__proto__", "hasOwnProperty/__proto__"],
    ["k".repeat(1024), "k".repeat(1024)],
    ["%C3%A4".repeat(512), "ä".repeat(512)],
    ["%22".repeat(1024), '"'.repeat(1024)],
  ])("%s", async (path, key) => {
    expect((await node.call("GET", `/api/cache/${path}`)).status).toBe(404);
    expect((await node.post(key, "1")).status).toBe(200);
    expect((await node.call("GET", "/api/keys")).json().keys).toEqual([key]);
    const answer = await node.call("GET", `/api/cache/${path}`);
    expect(answer.text).toBe(`{"key":${JSON.stringify(key)},"value":1}`);
    expect(answer.headers.get("content-length")).toBe(String(answer.body.length));
    const put = await node.call("PUT", `/api/v1/cache/${path}`, {
      headers: { "Content-Type": "application/json" },
      body: "2",
    });
    expect(put.status).toBe(200);
    const patched = await node.call("PATCH", `/api/cache/${path}`, { body: '{"increment":3}' });
    expect(patched.json()).toEqual({ key, value: 5 });
    expect((await node.get(key)).json()).toEqual({ key, value: 5 });
    expect((await node.call("DELETE", `/api/cache/${path}`)).status).toBe(200);
    expect((await node.call("GET", `/api/v1/cache/${path}`)).status).toBe(404);
  });

  test("of its own: what looks alike is another key", async () => {
    const keys = [
      "a/b",
      "a//b",
      "/a/b",
      "a/b/",
      "a/./b",
      "a/../b",
      "A/b",
      "a%2Fb",
      "a b",
      "a+b",
      "ä",
      "a\u0308",
      "\u00e4\u200b",
    ];
    for (const [index, key] of keys.entries()) await node.post(key, String(index));
    for (const [index, key] of keys.entries()) expect((await node.get(key)).json()).toEqual({ key, value: index });
    for (const key of keys) await node.call("DELETE", `/api/cache/${encodeURIComponent(key)}`);
  });
});

describe.each(ANSWERS)("where the engine answers %s, a key is refused by every method where it", (answers) => {
  const node = new RestNode({ answers });
  afterAll(() => {
    node[Symbol.dispose]();
    expect(node.errors).toEqual([]);
  });

  test.each([
    ["is empty", ""],
    ["is empty before a query", "?raw"],
    ["has 1,025 bytes", "k".repeat(1025)],
    ["has 1,025 bytes of UTF-8", `${"%C3%A4".repeat(512)}k`],
    ["has 1,025 bytes, the last ones a character", `${"k".repeat(1023)}%C3%A4`],
    ["has a NUL", "%00"],
    ["has a NUL inside", "a%00b"],
    ["has a line feed", "a%0Ab"],
    ["has a carriage return", "a%0d"],
    ["has a tab", "%09"],
    ["has U+001F", "%1F"],
    ["has U+007F", "%7f"],
    ["has U+0080", "%C2%80"],
    ["has U+009F", "a%C2%9F"],
    ["has % without digits", "%"],
    ["has % with one digit", "a%4"],
    ["has % with other letters", "%zz"],
    ["has % with one other letter", "%4g"],
    ["has %u", "%u00e4"],
    ["has Latin-1", "%E4"],
    ["has a byte that UTF-8 has not", "%FF"],
    ["has half a character", "%C3"],
    ["has half a character inside", "%C3a"],
    ["has a continuation byte alone", "%80"],
    ["has a slash in two bytes", "%C0%AF"],
    ["has a slash in three bytes", "%E0%80%AF"],
    ["has a surrogate", "%ED%A0%80"],
    ["has a surrogate pair in UTF-8", "%ED%A0%BD%ED%B8%80"],
    ["is beyond U+10FFFF", "%F4%90%80%80"],
    ["begins with a byte that begins nothing", "%F5%80%80%80"],
  ])("%s", async (_, path) => {
    for (const method of METHODS) {
      const answer = await node.call(method, `/api/cache/${path}`);
      expect(answer.status).toBe(400);
      if (method !== "HEAD") expect(answer.json()).toMatchObject({ code: "ERR_INVALID_KEY" });
    }
  });

  test.each(["\u00e4", "a\u0001", "a\u007f", "a\tb"])("has bytes that a target can't have: %j", async (path) => {
    const answer = await node.call("GET", `/api/cache/${path}`);
    expect([answer.status, answer.json().code]).toEqual([400, "ERR_BAD_REQUEST"]);
  });

  test("makes the target longer than any", async () => {
    const answer = await node.call("GET", `/api/cache/${"k".repeat(9_000)}`);
    expect([answer.status, answer.json().code]).toEqual([414, "ERR_TARGET_TOO_LONG"]);
  });
});

describe("only /api/cache/ and /api/v1/cache/ come before a key", () => {
  test.each([
    "//api/cache/a",
    "/api//cache/a",
    "/API/cache/a",
    "/api/x/../cache/a",
    "/api/%63ache/a",
    "/api/cachea",
    "/api/v1/v1/cache/a",
  ])("%s is nothing", async (path) => {
    await node.post("a", "1");
    const answer = await node.call("GET", path);
    expect([answer.status, answer.json().code]).toEqual([404, "ERR_UNKNOWN_PATH"]);
  });
});

describe("the key of a POST", () => {
  test.each([
    ["k", "k"],
    ["k".repeat(1024), "k".repeat(1024)],
    ['\\u0041\\/\\\\\\"', 'A/\\"'],
    ["\\ud83d\\ude00", "😀"],
    ["\\u00e4".repeat(512), "ä".repeat(512)],
    ["a%2Fb", "a%2Fb"],
  ])("%s", async (written, key) => {
    expect((await node.call("POST", "/api/cache", { body: `{"key":"${written}","value":1}` })).status).toBe(200);
    expect((await node.get(key)).text).toBe(`{"key":${JSON.stringify(key)},"value":1}`);
  });

  test.each([
    "",
    "k".repeat(1025),
    "\\u00e4".repeat(513),
    `${"k".repeat(1022)}€`,
    "\\u0000",
    "a\\n",
    "\\t",
    "\\u007f",
    "\u0085",
    "\\u0085",
    "\\ud800",
    "\\ude00\\ud83d",
    "\\ud83dx",
  ])("is refused: %s", async (written) => {
    const answer = await node.call("POST", "/api/cache", { body: `{"key":"${written}","value":1}` });
    expect([answer.status, answer.json().code]).toEqual([400, "ERR_INVALID_KEY"]);
  });
});
