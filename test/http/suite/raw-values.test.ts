import { afterAll, describe, expect, test } from "bun:test";
import { ANSWERS, type RestAnswer, RestNode } from "../../support/rest-node.ts";

describe.each(ANSWERS)("where the engine answers %s,", (answers) => {
  const node = new RestNode({ answers });
  afterAll(() => {
    node[Symbol.dispose]();
    expect(node.errors).toEqual([]);
  });

  const MIB = 1024 * 1024;
  const EVERY_BYTE = Buffer.from(Array.from({ length: 512 }, (_, index) => index & 0xff));

  function put(key: string, contentType: string, body: string | Buffer, query = ""): Promise<RestAnswer> {
    return node.call("PUT", `/api/cache/${key}${query}`, { headers: { "Content-Type": contentType }, body });
  }

  function getRaw(key: string): Promise<RestAnswer> {
    return node.call("GET", `/api/cache/${key}?raw`);
  }

  test.each([
    "image/x-own; q=1",
    "text/html",
    "application/json-seq",
    "application/problem+json",
    "text/json",
    "t".repeat(255),
  ])("bytes of type %s come back with that type, and are not to be guessed at", async (type) => {
    expect((await put("raw", type, EVERY_BYTE)).text).toBe('{"status":"success"}');
    for (const answer of [await node.get("raw"), await getRaw("raw")]) {
      expect([answer.status, answer.body.equals(EVERY_BYTE)]).toEqual([200, true]);
      expect(answer.headers.get("content-type")).toBe(type);
      expect(answer.headers.get("content-length")).toBe("512");
      expect(answer.headers.get("x-content-type-options")).toBe("nosniff");
    }
    const head = await node.call("HEAD", "/api/cache/raw");
    expect([head.status, head.text, head.headers.get("content-length")]).toEqual([200, "", "512"]);
    expect(head.headers.get("content-type")).toBe(type);
  });

  test.each([[{}], [{ "Content-Type": "" }]])("bytes without a type are an octet stream: %j", async (headers) => {
    expect((await node.call("PUT", "/api/cache/untyped", { headers, body: EVERY_BYTE })).status).toBe(200);
    const answer = await node.get("untyped");
    expect(answer.body.equals(EVERY_BYTE)).toBe(true);
    expect(answer.headers.get("content-type")).toBe("application/octet-stream");
  });

  test("an empty body is a value of no bytes", async () => {
    expect((await put("empty", "text/plain", "")).status).toBe(200);
    const answer = await node.get("empty");
    expect([answer.status, answer.text, answer.headers.get("content-length")]).toEqual([200, "", "0"]);
  });

  test.each([
    "application/json",
    "Application/JSON; charset=utf-8",
    "application/json ;charset=utf-8",
    "application/json;",
  ])("a body of type %j is a JSON value", async (type) => {
    expect((await put("document", type, ' {"a": 1.0}\n')).status).toBe(200);
    const document = await node.get("document");
    expect(document.text).toBe('{"key":"document","value": {"a": 1.0}\n}');
    expect(document.headers.get("content-type")).toBe("application/json");
    const raw = await getRaw("document");
    expect(raw.text).toBe(' {"a": 1.0}\n');
    expect(raw.headers.get("content-type")).toBe("application/json");
  });

  test.each([
    "",
    " ",
    "{",
    "1 2",
    "nul",
    "'a'",
    '\ufeff"a"',
    "[1,]",
    '"\\u12"',
    "NaN",
    Buffer.from([0x22, 0xff, 0x22]),
    Buffer.from([0x22, 0x0a, 0x22]),
  ])("%j is refused where its type says JSON, and the old value stays", async (body) => {
    await put("document", "application/json", "1");
    const refused = await put("document", "application/json; charset=utf-8", body);
    expect([refused.status, refused.json().code]).toEqual([400, "ERR_INVALID_JSON"]);
    expect((await getRaw("document")).text).toBe("1");
  });

  test.each(["t".repeat(256), `text/${"x".repeat(300)}`, "text/\u00e4", "text/a\tb"])(
    "a type that can't be kept is refused: %p",
    async (type) => {
      const refused = await put("typed", type, "1");
      expect([refused.status, refused.json().code]).toEqual([400, "ERR_BAD_CONTENT_TYPE"]);
      expect((await node.get("typed")).status).toBe(404);
    },
  );

  test("?raw is what the query says, unless it says false", async () => {
    await node.post("flagged", "1");
    for (const query of ["?raw", "?raw=", "?raw=true", "?&raw", "?%72aw", "?raw&raw=false"]) {
      expect((await node.call("GET", `/api/cache/flagged${query}`)).text).toBe("1");
    }
    for (const query of ["?", "?raw=false", "?&&"]) {
      expect((await node.call("GET", `/api/cache/flagged${query}`)).text).toBe('{"key":"flagged","value":1}');
    }
  });

  test.each(["?raw=%zz", "?%", "?x=%ff"])("a query that can't be decoded is refused: %s", async (query) => {
    await node.post("queried", "1");
    for (const method of ["GET", "PUT"]) {
      const refused = await node.call(method, `/api/cache/queried${query}`);
      expect([refused.status, refused.json().code]).toEqual([400, "ERR_BAD_QUERY"]);
    }
  });

  test("the TTL is the query's, and the first one where there are two", async () => {
    await put("timed", "text/plain", "1", "?ttl=1m&ttl=2m");
    expect((await node.get("timed")).headers.get("cache-status")).toBe("ServCache; hit; ttl=60");
    await put("timed", "text/plain", "1");
    expect((await node.get("timed")).headers.get("cache-status")).toBe("ServCache; hit");
  });

  test.each(["application/octet-stream", "application/json"])(
    "16 MiB of %s are kept, one byte more is not",
    async (type) => {
      const body = Buffer.alloc(16 * MIB, "7");
      expect((await put("huge", type, body)).status).toBe(200);
      const refused = await put("huge", type, Buffer.alloc(16 * MIB + 1, "7"));
      expect([refused.status, refused.json().code]).toEqual([413, "ERR_TOO_LARGE"]);
      expect((await getRaw("huge")).body.equals(body)).toBe(true);
    },
  );

  test("a body that is larger than any request may be is refused, with the caller's trace id", async () => {
    const traceId = "4bf92f3577b34da6a3ce929d0e0e4736";
    const headers = { traceparent: `00-${traceId}-00f067aa0ba902b7-01` };
    const refused = await node.call("PUT", "/api/cache/huge", { headers, body: Buffer.alloc(17 * MIB) });
    expect(refused.status).toBe(413);
    expect(refused.json()).toMatchObject({ code: "ERR_BODY_TOO_LARGE", trace_id: traceId });
  });
});
