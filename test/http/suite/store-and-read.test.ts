import { describe, expect, test } from "bun:test";
import { MAX_VALUE_BYTES } from "../../../src/model/entry.ts";
import { expectError, expectSuccess, startTestApi, ttlIn, WAYS_TO_ANSWER } from "../../support/api.ts";

const JSON_TYPE = { "Content-Type": "application/json" };

describe.each(WAYS_TO_ANSWER)("storing JSON where the engine answers %s", (_, engine) => {
  test.each([
    "null",
    "true",
    "0",
    "-0",
    "1.0",
    "1e400",
    "12345678901234567890",
    '""',
    '"\\u00e4\\/\\ud800"',
    '"ä😀"',
    "[]",
    "{}",
    '{"b":1.0,"a":2,"b":3,"__proto__":null}',
    '[1, 2,\n\t{"x" : [ ] }]',
  ])("keeps %s as it was sent", async (value) => {
    using api = await startTestApi({ engine });
    expectSuccess(await api.call("POST", "/api/cache", { body: `{"key":"k","value":${value}}` }));
    const answer = await api.call("GET", "/api/cache/k");
    expect([answer.status, answer.body]).toEqual([200, `{"key":"k","value":${value}}`]);
    expect(answer.headers.get("content-type")).toBe("application/json");
    expect((await api.call("GET", "/api/cache/k?raw")).body).toBe(value);
  });

  test("leaves out the white space around the value", async () => {
    using api = await startTestApi({ engine });
    await api.call("POST", "/api/cache", { body: ' {"value" :\n [1]\t, "key": "k" }\r\n' });
    expect((await api.call("GET", "/api/cache/k")).body).toBe('{"key":"k","value":[1]}');
  });

  test("takes the last of members with the same name, and ignores those it does not know", async () => {
    using api = await startTestApi({ engine });
    await api.call("POST", "/api/cache", { body: '{"key":"no","x":{"key":1},"value":1,"\\u006bey":"k","value":2}' });
    expect((await api.call("GET", "/api/cache/k")).body).toBe('{"key":"k","value":2}');
    expect((await api.call("GET", "/api/cache/no")).status).toBe(404);
  });

  test.each(["", "text/plain", "application/x-www-form-urlencoded"])(
    "reads the body as JSON when its Content-Type is %p",
    async (type) => {
      using api = await startTestApi({ engine });
      const headers: Record<string, string> = type === "" ? {} : { "Content-Type": type };
      expectSuccess(await api.call("POST", "/api/cache", { headers, body: '{"key":"k","value":1}' }));
      expect((await api.call("GET", "/api/cache/k")).headers.get("content-type")).toBe("application/json");
    },
  );

  test.each([
    ["", "ERR_INVALID_JSON"],
    ["{", "ERR_INVALID_JSON"],
    ["[]", "ERR_INVALID_JSON"],
    ['"text"', "ERR_INVALID_JSON"],
    ['{"key":"k","value":1,}', "ERR_INVALID_JSON"],
    ['{"key":"k","value":01}', "ERR_INVALID_JSON"],
    ['{"key":"k","value":NaN}', "ERR_INVALID_JSON"],
    ["{'key':'k','value':1}", "ERR_INVALID_JSON"],
    ['{"key":"k","value":1} x', "ERR_INVALID_JSON"],
    ['\ufeff{"key":"k","value":1}', "ERR_INVALID_JSON"],
    ['{"key":"k"}', "ERR_NO_VALUE"],
    ['{"value":1}', "ERR_INVALID_KEY"],
    ['{"key":null,"value":1}', "ERR_INVALID_KEY"],
    ['{"key":1,"value":1}', "ERR_INVALID_KEY"],
    ['{"key":"","value":1}', "ERR_INVALID_KEY"],
    ['{"key":"\\u0000","value":1}', "ERR_INVALID_KEY"],
    ['{"key":"\\ud800","value":1}', "ERR_INVALID_KEY"],
    ['{"key":"k","value":1,"tags":["a"]}', "ERR_TAGS_UNSUPPORTED"],
  ])("refuses %p", async (body, code) => {
    using api = await startTestApi({ engine });
    expectError(await api.call("POST", "/api/cache", { body }), 400, code);
    expect((await api.call("GET", "/api/keys")).body).toBe('{"keys":[],"cursor":null}');
  });

  test("refuses a body that is not UTF-8", async () => {
    using api = await startTestApi({ engine });
    const body = Buffer.from('{"key":"k","value":"\xff"}', "latin1");
    expectError(await api.call("POST", "/api/cache", { body }), 400, "ERR_INVALID_JSON");
  });

  test.each([10_000, 200_000])("keeps values nested %p deep", async (depth) => {
    using api = await startTestApi({ engine });
    const value = `${"[".repeat(depth)}${"]".repeat(depth)}`;
    expectSuccess(await api.call("POST", "/api/cache", { body: `{"key":"k","value":${value}}` }));
    expect((await api.call("GET", "/api/cache/k?raw")).body).toBe(value);
  });

  test("takes a value of 16 MiB and refuses one byte more", async () => {
    using api = await startTestApi({ engine });
    const value = `"${"x".repeat(MAX_VALUE_BYTES - 2)}"`;
    expectSuccess(await api.call("POST", "/api/cache", { body: `{"key":"k","value":${value}}` }));
    expect((await api.call("GET", "/api/cache/k?raw")).body === value).toBe(true);
    const more = await api.call("POST", "/api/cache", { body: `{"key":"k","value":"x${value.slice(1)}}` });
    expectError(more, 413, "ERR_TOO_LARGE");
  });
});

describe.each(WAYS_TO_ANSWER)("storing bytes where the engine answers %s", (_, engine) => {
  test.each([
    ["text/plain; charset=utf-8", Buffer.from("grüß dich")],
    ["image/png", Buffer.from([0x89, 0x50, 0x00, 0xff, 0x0d, 0x0a])],
    ["application/vnd.api+json", Buffer.from("not JSON at all")],
    ["text/plain", Buffer.alloc(0)],
  ])("gives back %s with its own bytes and type", async (type, body) => {
    using api = await startTestApi({ engine });
    expectSuccess(await api.call("PUT", "/api/cache/k", { headers: { "Content-Type": type }, body }));
    for (const target of ["/api/cache/k", "/api/cache/k?raw"]) {
      const answer = await api.call("GET", target);
      expect([answer.status, answer.headers.get("content-type")]).toEqual([200, type]);
      expect(answer.bytes.equals(body)).toBe(true);
      expect(answer.headers.get("x-content-type-options")).toBe("nosniff");
    }
  });

  test("without a Content-Type gives back bytes of unknown type", async () => {
    using api = await startTestApi({ engine });
    await api.call("PUT", "/api/cache/k", { body: "x" });
    expect((await api.call("GET", "/api/cache/k")).headers.get("content-type")).toBe("application/octet-stream");
  });

  test.each(["application/json", "Application/JSON", "application/json; charset=utf-8"])(
    "answers %s as a document",
    async (type) => {
      using api = await startTestApi({ engine });
      expectSuccess(await api.call("PUT", "/api/cache/k", { headers: { "Content-Type": type }, body: '{"a":1.0}' }));
      expect((await api.call("GET", "/api/cache/k")).body).toBe('{"key":"k","value":{"a":1.0}}');
    },
  );

  test.each(["", "{", "undefined", "1 2"])("refuses %p that says it is JSON", async (body) => {
    using api = await startTestApi({ engine });
    expectError(await api.call("PUT", "/api/cache/k", { headers: JSON_TYPE, body }), 400, "ERR_INVALID_JSON");
  });

  test("refuses JSON that is not UTF-8", async () => {
    using api = await startTestApi({ engine });
    const body = Buffer.from('"\xff"', "latin1");
    expectError(await api.call("PUT", "/api/cache/k", { headers: JSON_TYPE, body }), 400, "ERR_INVALID_JSON");
  });

  test.each([`text/${"x".repeat(251)}`, "text/plän"])("refuses the Content-Type %s", async (type) => {
    using api = await startTestApi({ engine });
    const answer = await api.call("PUT", "/api/cache/k", { headers: { "Content-Type": type }, body: "x" });
    expectError(answer, 400, "ERR_BAD_CONTENT_TYPE");
  });

  test("takes 16 MiB and refuses one byte more", async () => {
    using api = await startTestApi({ engine });
    const body = Buffer.alloc(MAX_VALUE_BYTES, 7);
    expectSuccess(await api.call("PUT", "/api/cache/k", { body }));
    expect((await api.call("GET", "/api/cache/k")).bytes.equals(body)).toBe(true);
    expectError(await api.call("PUT", "/api/cache/k", { body: Buffer.alloc(body.length + 1) }), 413, "ERR_TOO_LARGE");
  });

  test("replaces JSON by bytes, and bytes by JSON", async () => {
    using api = await startTestApi({ engine });
    await api.call("POST", "/api/cache", { body: '{"key":"k","value":1}' });
    await api.call("PUT", "/api/cache/k", { headers: { "Content-Type": "text/plain" }, body: "two" });
    expect((await api.call("GET", "/api/cache/k")).body).toBe("two");
    await api.call("POST", "/api/cache", { body: '{"key":"k","value":3}' });
    expect((await api.call("GET", "/api/cache/k")).body).toBe('{"key":"k","value":3}');
  });
});

describe.each(WAYS_TO_ANSWER)("reading where the engine answers %s", (_, engine) => {
  test("misses with 404 and says what to do", async () => {
    using api = await startTestApi({ engine });
    expectError(await api.call("GET", "/api/cache/nobody"), 404, "ERR_NOT_FOUND");
    expectError(await api.call("GET", "/api/cache/nobody?raw"), 404, "ERR_NOT_FOUND");
  });

  test("gives the trace id of the caller's traceparent with an error", async () => {
    using api = await startTestApi({ engine });
    const traceId = "4bf92f3577b34da6a3ce929d0e0e4736";
    const headers = { traceparent: `00-${traceId}-00f067aa0ba902b7-01` };
    expect(JSON.parse((await api.call("GET", "/api/cache/nobody", { headers })).body).trace_id).toBe(traceId);
  });

  test.each(["/api/cache/k", "/api/cache/k?raw", "/api/cache/nobody"])(
    "HEAD %s gives what GET gives, without the body",
    async (target) => {
      using api = await startTestApi({ engine });
      await api.call("POST", "/api/cache", { body: '{"key":"k","value":[1,2],"ttl":"1m"}' });
      const [get, head] = [await api.call("GET", target), await api.call("HEAD", target)];
      const headersOf = ({ headers }: typeof get) => [...headers].filter(([name]) => name !== "date");
      expect(head.body).toBe("");
      expect([head.status, headersOf(head)]).toEqual([get.status, headersOf(get)]);
      expect(head.headers.get("content-length")).toBe(String(get.bytes.length));
    },
  );

  test("says in Cache-Status how many whole seconds are left", async () => {
    using api = await startTestApi({ engine });
    await api.call("POST", "/api/cache", { body: '{"key":"k","value":1,"ttl":"10s"}' });
    const ttl = async () => ttlIn(await api.call("GET", "/api/cache/k"));
    expect(await ttl()).toBe(10);
    api.clock.nowMs += 1;
    expect(await ttl()).toBe(9);
    api.clock.nowMs += 9_998;
    expect(await ttl()).toBe(0);
    api.clock.nowMs += 1;
    expect((await api.call("GET", "/api/cache/k")).status).toBe(404);
  });

  test("tells no TTL where the entry never expires", async () => {
    using api = await startTestApi({ engine });
    await api.call("POST", "/api/cache", { body: '{"key":"k","value":1}' });
    expect(ttlIn(await api.call("GET", "/api/cache/k"))).toBeNull();
  });

  test.each(["raw=false", "", "&"])("answers with the document for ?%s", async (query) => {
    using api = await startTestApi({ engine });
    await api.call("POST", "/api/cache", { body: '{"key":"k","value":1}' });
    expect((await api.call("GET", `/api/cache/k?${query}`)).body).toBe('{"key":"k","value":1}');
  });

  test("keeps requests that are under way together apart", async () => {
    using api = await startTestApi({ engine });
    for (const key of ["a", "b", "c"]) await api.call("PUT", `/api/cache/${key}`, { body: key.repeat(3) });
    const answers = await Promise.all(
      ["a", "nobody", "b", "c"].map(async (key) =>
        (await fetch(`http://127.0.0.1:${api.port}/api/cache/${key}`)).text(),
      ),
    );
    expect(answers).toEqual(["aaa", expect.stringContaining("ERR_NOT_FOUND"), "bbb", "ccc"]);
  });
});
