import { afterAll, describe, expect, test } from "bun:test";
import { RestNode } from "../../support/rest-node.ts";

const node = new RestNode();
afterAll(() => {
  node[Symbol.dispose]();
  expect(node.errors).toEqual([]);
});

const MIB = 1024 * 1024;

describe("JSON values", () => {
  test.each([
    "null",
    "true",
    "1.0",
    "-0",
    "12345678901234567890",
    "1e400",
    '"text"',
    '"\\u0000\\ud800 \\/ \\u00e4"',
    '{ "b" : 1, "a" : [ 1.50 , { } ] , "b" : 2 }',
    "[]",
    '""',
    '"ä😀"',
  ])("%s comes back as it was sent", async (value) => {
    expect((await node.post("value", `  ${value} `)).text).toBe('{"status":"success"}');
    const answer = await node.get("value");
    expect(answer.status).toBe(200);
    expect(answer.text).toBe(`{"key":"value","value":${value}}`);
    expect(answer.headers.get("content-type")).toBe("application/json");
    expect(answer.headers.get("content-length")).toBe(String(answer.body.length));
    expect((await node.call("GET", "/api/cache/value?raw")).text).toBe(value);
  });

  test("are read whatever Content-Type says", async () => {
    for (const type of ["text/plain", "application/x-www-form-urlencoded", "nonsense"]) {
      const body = `{"key":"typed","value":${JSON.stringify(type)}}`;
      const answer = await node.call("POST", "/api/cache", { headers: { "Content-Type": type }, body });
      expect(answer.status).toBe(200);
      expect((await node.get("typed")).json().value).toBe(type);
    }
  });

  test("come from the last of repeated members; unknown members are ignored", async () => {
    const body = '{"more":[1],"key":"first","value":1,"key":"last","value":2,"__proto__":{"key":"no"}}';
    expect((await node.call("POST", "/api/cache", { body })).status).toBe(200);
    expect((await node.get("last")).text).toBe('{"key":"last","value":2}');
    expect((await node.get("first")).status).toBe(404);
  });

  test("of 16 MiB are kept, and of one byte more refused", async () => {
    const value = `"${"v".repeat(16 * MIB - 2)}"`;
    expect((await node.post("huge", value)).status).toBe(200);
    expect((await node.call("GET", "/api/cache/huge?raw")).body.equals(Buffer.from(value))).toBe(true);
    const refused = await node.post("huge", `"v${value.slice(1)}`);
    expect(refused.status).toBe(413);
    expect(refused.json().code).toBe("ERR_TOO_LARGE");
  });
});

describe("raw values", () => {
  test("of any type come back as their own bytes and type", async () => {
    const body = Buffer.from(Array.from({ length: 512 }, (_, index) => index & 0xff));
    const headers = { "Content-Type": "image/x-own; q=1" };
    expect((await node.call("PUT", "/api/cache/raw", { headers, body })).text).toBe('{"status":"success"}');
    const answer = await node.get("raw");
    expect(answer.body.equals(body)).toBe(true);
    expect(answer.headers.get("content-type")).toBe("image/x-own; q=1");
    expect(answer.headers.get("x-content-type-options")).toBe("nosniff");
  });

  test("without a type are octet streams, and may be empty", async () => {
    expect((await node.call("PUT", "/api/cache/empty")).status).toBe(200);
    const answer = await node.get("empty");
    expect([answer.status, answer.text]).toEqual([200, ""]);
    expect(answer.headers.get("content-type")).toBe("application/octet-stream");
  });

  test("that are JSON by their type become JSON values, and must be JSON", async () => {
    const headers = { "Content-Type": "Application/JSON; charset=utf-8" };
    expect((await node.call("PUT", "/api/cache/doc", { headers, body: ' {"a": 1.0}\n' })).status).toBe(200);
    expect((await node.get("doc")).text).toBe('{"key":"doc","value": {"a": 1.0}\n}');
    for (const body of ["", "{", "1 2", Buffer.from([0x22, 0xff, 0x22])]) {
      const refused = await node.call("PUT", "/api/cache/doc", { headers, body });
      expect([refused.status, refused.json().code]).toEqual([400, "ERR_INVALID_JSON"]);
    }
  });

  test("with a type that is too long are refused", async () => {
    const headers = { "Content-Type": `text/${"x".repeat(300)}` };
    const refused = await node.call("PUT", "/api/cache/typed", { headers, body: "1" });
    expect([refused.status, refused.json().code]).toEqual([400, "ERR_BAD_CONTENT_TYPE"]);
  });
});

describe("keys in paths", () => {
  test.each([
    ["a/b", "a/b"],
    ["a%2Fb", "a/b"],
    ["..", ".."],
    ["%2E%2e", ".."],
    ["a/../b", "a/../b"],
    ["//", "//"],
    ["a+b", "a+b"],
    ["a/", "a/"],
    ["%C3%A4%F0%9F%98%80", "ä😀"],
    ["__proto__", "__proto__"],
    ["constructor", "constructor"],
    ["%22%5C%25", '"\\%'],
    ["k".repeat(1024), "k".repeat(1024)],
    ["?raw", ""],
  ])("%s is the key %j", async (path, key) => {
    if (key === "") return void expect((await node.call("GET", `/api/cache/${path}`)).status).toBe(400);
    expect((await node.post(key, "1")).status).toBe(200);
    const answer = await node.call("GET", `/api/cache/${path}`);
    expect(answer.json()).toEqual({ key, value: 1 });
    expect((await node.call("DELETE", `/api/v1/cache/${path}`)).status).toBe(200);
    expect((await node.call("GET", `/api/cache/${path}`)).status).toBe(404);
  });

  test.each(["%00", "a%0Ab", "%7f", "%C2%80", "%zz", "%4", "%", "%FF", "%C3", "%ED%A0%80", "k".repeat(1025), ""])(
    "%j is refused by every method",
    async (path) => {
      for (const method of ["GET", "HEAD", "PUT", "PATCH", "DELETE"]) {
        const answer = await node.call(method, `/api/cache/${path}`);
        expect(answer.status).toBe(400);
        if (method !== "HEAD") expect(answer.json().code).toBe("ERR_INVALID_KEY");
      }
    },
  );
});

describe("bad bodies", () => {
  test.each([
    ["", "ERR_INVALID_JSON"],
    ["{", "ERR_INVALID_JSON"],
    ["[]", "ERR_INVALID_JSON"],
    ["null", "ERR_INVALID_JSON"],
    ['\ufeff{"key":"a","value":1}', "ERR_INVALID_JSON"],
    ['{"key":"a","value":01}', "ERR_INVALID_JSON"],
    ['{"key":"a","value":1}x', "ERR_INVALID_JSON"],
    ['{"key":"a","value":"\\ud800"', "ERR_INVALID_JSON"],
    ['{"value":1}', "ERR_INVALID_KEY"],
    ['{"key":1,"value":1}', "ERR_INVALID_KEY"],
    ['{"key":null,"value":1}', "ERR_INVALID_KEY"],
    ['{"key":"","value":1}', "ERR_INVALID_KEY"],
    ['{"key":"a\\u0000","value":1}', "ERR_INVALID_KEY"],
    ['{"key":"\\ud800","value":1}', "ERR_INVALID_KEY"],
    ['{"key":"a"}', "ERR_NO_VALUE"],
    ['{"key":"a","value":1,"ttl":5}', "ERR_INVALID_TTL"],
    ['{"key":"a","value":1,"ttl":{}}', "ERR_INVALID_TTL"],
    ['{"key":"a","value":1,"tags":["x"]}', "ERR_TAGS_UNSUPPORTED"],
  ])("%j is refused with %s", async (body, code) => {
    const answer = await node.call("POST", "/api/cache", { body });
    expect([answer.status, answer.json().code]).toEqual([400, code]);
  });

  test("in other encodings than UTF-8 are refused", async () => {
    const body = Buffer.concat([Buffer.from('{"key":"a","value":"'), Buffer.from([0xe4]), Buffer.from('"}')]);
    expect((await node.call("POST", "/api/cache", { body })).json().code).toBe("ERR_INVALID_JSON");
  });

  test("nested 10,000 and 200,000 deep are kept", async () => {
    for (const depth of [10_000, 200_000]) {
      const value = "[".repeat(depth) + "]".repeat(depth);
      expect((await node.post("deep", value)).status).toBe(200);
      expect((await node.call("GET", "/api/cache/deep?raw")).text).toBe(value);
    }
  });

  test("are answered with what to do, a code and the caller's trace id", async () => {
    const traceId = "4bf92f3577b34da6a3ce929d0e0e4736";
    const headers = { traceparent: `00-${traceId}-00f067aa0ba902b7-01` };
    const named = await node.call("GET", "/api/cache/nothing", { headers });
    expect([named.status, named.headers.get("content-type")]).toEqual([404, "application/json"]);
    expect(named.json()).toMatchObject({ code: "ERR_NOT_FOUND", trace_id: traceId });
    const own = (await node.call("GET", "/api/cache/nothing")).json();
    expect(own.trace_id).toMatch(/^[0-9a-f]{32}$/);
    expect(own.error).toContain("no entry");
  });
});
