import { afterAll, describe, expect, test } from "bun:test";
import { ANSWERS, RestNode } from "../../support/rest-node.ts";

describe.each(ANSWERS)("where the engine answers %s,", (answers) => {
  const node = new RestNode({ answers });
  afterAll(() => {
    node[Symbol.dispose]();
    expect(node.errors).toEqual([]);
  });

  const MIB = 1024 * 1024;

  describe("a JSON value comes back byte for byte", () => {
    test.each([
      "null",
      "true",
      "false",
      "0",
      "-0",
      "1.0",
      "1e400",
      "1E-0400",
      "12345678901234567890",
      "0.1000000000000000055511151231257827",
      '""',
      '"text"',
      '"ä😀\u2028\u007f"',
      '"\\u0000"',
      '"\\ud800"',
      '"\\udc00\\ud800"',
      '"\\/ \\u00e4 \\u00E4 \\" \\\\"',
      "[]",
      "{}",
      '{"b":1,"a":2,"2":3,"1":4}',
      '{"a":1,"a":2,"":3,"__proto__":4}',
      '{ "b" : 1,\r\n\t"a" : [ 1.50 , { } ] }',
    ])("%s", async (value) => {
      expect((await node.post("value", `\n\t ${value} \r`)).text).toBe('{"status":"success"}');
      const answer = await node.get("value");
      expect([answer.status, answer.text]).toEqual([200, `{"key":"value","value":${value}}`]);
      expect(answer.headers.get("content-type")).toBe("application/json");
      expect(answer.headers.get("content-length")).toBe(String(answer.body.length));
      expect((await node.call("GET", "/api/cache/value?raw")).text).toBe(value);
    });

    test.each([10_000, 200_000, 1_000_000])("nested %d deep", async (depth) => {
      const value = '{"a":['.repeat(depth / 2) + "]}".repeat(depth / 2);
      expect((await node.post("deep", value)).status).toBe(200);
      expect((await node.call("GET", "/api/cache/deep?raw")).text).toBe(value);
    });

    test("of 16 MiB; one byte more is refused and leaves the old value", async () => {
      const value = `"${"v".repeat(16 * MIB - 2)}"`;
      expect((await node.post("huge", value)).status).toBe(200);
      const refused = await node.post("huge", `"v${value.slice(1)}`);
      expect([refused.status, refused.json().code]).toEqual([413, "ERR_TOO_LARGE"]);
      expect((await node.call("GET", "/api/cache/huge?raw")).body.equals(Buffer.from(value))).toBe(true);
    });
  });

  describe("HEAD", () => {
    test.each(["", "?raw"])("answers what GET %s would, without the body", async (query) => {
      await node.post("headed", '{"a": 1.0}', ',"ttl":"1m"');
      const get = await node.call("GET", `/api/cache/headed${query}`);
      const head = await node.call("HEAD", `/api/cache/headed${query}`);
      expect([head.status, head.text]).toEqual([200, ""]);
      for (const name of ["content-type", "content-length", "etag", "cache-control"]) {
        expect(get.headers.has(name)).toBe(true);
        expect(head.headers.get(name)).toBe(get.headers.get(name));
      }
    });

    test("of a key that isn't there is 404 without a body", async () => {
      const head = await node.call("HEAD", "/api/cache/absent");
      expect([head.status, head.text]).toEqual([404, ""]);
    });
  });

  describe("the members of a POST", () => {
    test("are read whatever Content-Type says", async () => {
      for (const type of [
        "text/plain",
        "application/x-www-form-urlencoded",
        "nonsense",
        "",
        "text/plain; charset=latin1",
      ]) {
        const body = `{"key":"typed","value":${JSON.stringify(`${type} ä`)}}`;
        const answer = await node.call("POST", "/api/cache", { headers: { "Content-Type": type }, body });
        expect(answer.status).toBe(200);
        const found = await node.get("typed");
        expect(found.json().value).toBe(`${type} ä`);
        expect(found.headers.get("content-type")).toBe("application/json");
      }
    });

    test("count where they come last; unknown ones are ignored", async () => {
      const body =
        '{"more":[1],"key":"first","value":1,"ttl":"nonsense","ttl":"1m","key":"last","value":2,"__proto__":{"key":"no"},"Key":"no"}';
      expect((await node.call("POST", "/api/cache", { body })).status).toBe(200);
      const last = await node.get("last");
      expect(last.text).toBe('{"key":"last","value":2}');
      expect(last.headers.get("cache-status")).toBe("ServCache; hit; ttl=60");
      expect((await node.get("first")).status).toBe(404);
    });

    test("may have their names and the key written in escapes", async () => {
      const body = '{"\\u006bey":"\\u00e4\\ud83d\\ude00\\"\\/","\\u0076alue":"\\u0061"}';
      expect((await node.call("POST", "/api/cache", { body })).status).toBe(200);
      expect((await node.get('ä😀"/')).text).toBe('{"key":"ä😀\\"/","value":"\\u0061"}');
    });

    test("of the top level only are meant: those inside the value are the value's", async () => {
      const value = '{"key":"inner","value":1,"ttl":"1s"}';
      await node.post("outer", value);
      expect((await node.get("outer")).text).toBe(`{"key":"outer","value":${value}}`);
      expect((await node.get("inner")).status).toBe(404);
    });
  });

  test("a write replaces value, type and length of the one before", async () => {
    await node.post("replaced", '"a long value, which a short one replaces"');
    await node.post("replaced", "1");
    expect((await node.get("replaced")).text).toBe('{"key":"replaced","value":1}');
    await node.call("PUT", "/api/cache/replaced", { headers: { "Content-Type": "text/plain" }, body: "text" });
    const raw = await node.get("replaced");
    expect([raw.headers.get("content-type"), raw.text]).toEqual(["text/plain", "text"]);
    await node.post("replaced", "null");
    const json = await node.get("replaced");
    expect([json.headers.get("content-type"), json.text]).toEqual([
      "application/json",
      '{"key":"replaced","value":null}',
    ]);
  });
});
