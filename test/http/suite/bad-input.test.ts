import { afterAll, describe, expect, test } from "bun:test";
import { RawClient } from "../../support/raw-client.ts";
import { type RestAnswer, RestNode } from "../../support/rest-node.ts";

const node = new RestNode();
afterAll(() => {
  node[Symbol.dispose]();
  expect(node.errors).toEqual([]);
});

const TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736";
const TRACEPARENT = `00-${TRACE_ID}-00f067aa0ba902b7-01`;

type Case = [body: string, code: string];

function post(body: string | Buffer): Promise<RestAnswer> {
  return node.call("POST", "/api/cache", { body });
}

function expectRefusal(answer: RestAnswer, status: number, code: string): void {
  expect([answer.status, answer.headers.get("content-type")]).toEqual([status, "application/json"]);
  const body = answer.json();
  expect(Object.keys(body)).toEqual(["error", "code", "trace_id"]);
  expect(body.code).toBe(code);
  expect(body.trace_id).toMatch(/^[0-9a-f]{32}$/);
  expect(body.error).toMatch(/\w{3}/);
  expect(answer.body.length).toBeLessThan(1_000);
}

describe("a body that is not a JSON object is refused", () => {
  test.each([
    ...["", " ", "{", "}", "{}}", "[]", "null", "1", '"text"', "key=a&value=1", "\0", "//", "/**/{}"],
    '{"key":"a","value":1',
    '{"key":"a","value":1,}',
    '{"key":"a","value":1}x',
    '{"key":"a","value":1}{}',
    '{"key":"a" "value":1}',
    '{"key":"a","value"}',
    '{"key":"a","value":}',
    '{"key":"a",,"value":1}',
    '{key:"a","value":1}',
    "{'key':'a','value':1}",
    '{"key":"a","value":01}',
    '{"key":"a","value":+1}',
    '{"key":"a","value":.5}',
    '{"key":"a","value":1.}',
    '{"key":"a","value":1e}',
    '{"key":"a","value":-}',
    '{"key":"a","value":0x1}',
    '{"key":"a","value":NaN}',
    '{"key":"a","value":Infinity}',
    '{"key":"a","value":undefined}',
    '{"key":"a","value":True}',
    '{"key":"a","value":nul}',
    '{"key":"a","value":[1,]}',
    '{"key":"a","value":[1}}',
    '{"key":"a","value":{"b":1]}',
    '{"key":"a","value":"\\x41"}',
    '{"key":"a","value":"\\u12g4"}',
    '{"key":"a","value":"\\u12"}',
    '{"key":"a","value":"\n"}',
    '{"key":"a","value":"\t"}',
    '{"key":"a","value":"b}',
    '{"key":"a","value":1,"other":tru}',
    '\ufeff{"key":"a","value":1}',
    '\u00a0{"key":"a","value":1}',
    '{"key":"a","value":1}\0',
  ])("%j", async (body) => {
    expectRefusal(await post(body), 400, "ERR_INVALID_JSON");
  });

  test.each([
    ["a byte of Latin-1", Buffer.from('{"key":"a","value":"\u00e4"}', "latin1")],
    ["half a character", Buffer.concat([Buffer.from('{"key":"a","value":"'), Buffer.from([0xc3]), Buffer.from('"}')])],
    [
      "a surrogate",
      Buffer.concat([Buffer.from('{"key":"'), Buffer.from([0xed, 0xa0, 0x80]), Buffer.from('","value":1}')]),
    ],
    ["UTF-16", Buffer.from('\ufeff{"key":"a","value":1}', "utf16le")],
    ["bytes that are not UTF-8 in an unknown member", Buffer.from('{"key":"a","value":1,"x":"\u00ff"}', "latin1")],
  ])("with %s", async (_, body) => {
    expectRefusal(await post(body), 400, "ERR_INVALID_JSON");
  });

  test.each([10_000, 200_000, 1_000_001])("with %d arrays that are never closed", async (depth) => {
    expectRefusal(await post(`{"key":"a","value":${"[".repeat(depth)}`), 400, "ERR_INVALID_JSON");
    expectRefusal(await post("[".repeat(depth)), 400, "ERR_INVALID_JSON");
    expectRefusal(await post('{"a":'.repeat(depth)), 400, "ERR_INVALID_JSON");
  });

  test("nested deeper than a million levels, though it is JSON", async () => {
    const depth = 1_000_001;
    expectRefusal(await post(`{"key":"a","value":${"[".repeat(depth)}1${"]".repeat(depth)}}`), 400, "ERR_INVALID_JSON");
  });

  test("cut off anywhere", async () => {
    const body = ' {"key": "cut", "value": {"a": [1.5e3, "\\u00e4", true, null]}, "ttl": "1m", "more": []} ';
    for (let length = 0; length < body.length - 1; length++) {
      expectRefusal(await post(body.slice(0, length)), 400, "ERR_INVALID_JSON");
    }
    expect((await node.get("cut")).status).toBe(404);
    expect((await post(body)).status).toBe(200);
  });

  test("with one byte replaced, wherever JSON.parse refuses it too", async () => {
    const body = Buffer.from('{"key":"a","value":{"b":[1.5e3,"\\u00e4",true]},"ttl":"1m"}');
    for (const byte of Buffer.from('\0"\\,:{}[]-.0 a')) {
      for (let at = 0; at < body.length; at++) {
        const replaced = Buffer.from(body);
        replaced[at] = byte;
        const answer = await post(replaced);
        if (!isJsonText(replaced.toString("utf8"))) expectRefusal(answer, 400, "ERR_INVALID_JSON");
        else if (answer.status !== 200) expect(answer.json().code).not.toBe("ERR_INVALID_JSON");
      }
    }
  });
});

describe("members of the wrong kind are refused, whatever else the body has", () => {
  const DEEP = "[".repeat(200_000) + "]".repeat(200_000);
  const refused: Case[] = [
    ["{}", "ERR_INVALID_KEY"],
    ['{"value":1}', "ERR_INVALID_KEY"],
    ['{"Key":"a","value":1}', "ERR_INVALID_KEY"],
    ['{"key":1,"value":1}', "ERR_INVALID_KEY"],
    ['{"key":null,"value":1}', "ERR_INVALID_KEY"],
    ['{"key":true,"value":1}', "ERR_INVALID_KEY"],
    ['{"key":["a"],"value":1}', "ERR_INVALID_KEY"],
    ['{"key":{"key":"a"},"value":1}', "ERR_INVALID_KEY"],
    ['{"key":"a","key":1,"value":1}', "ERR_INVALID_KEY"],
    [`{"key":${DEEP},"value":1}`, "ERR_INVALID_KEY"],
    [`{"key":"${"k".repeat(1_000_000)}","value":1}`, "ERR_INVALID_KEY"],
    ['{"key":"a"}', "ERR_NO_VALUE"],
    ['{"key":"a","Value":1}', "ERR_NO_VALUE"],
    ['{"key":"a","ttl":"1s"}', "ERR_NO_VALUE"],
    ['{"key":"a","value":1,"ttl":5}', "ERR_INVALID_TTL"],
    ['{"key":"a","value":1,"ttl":{}}', "ERR_INVALID_TTL"],
    [`{"key":"a","value":1,"ttl":${DEEP}}`, "ERR_INVALID_TTL"],
    ['{"key":"a","value":1,"tags":["x"]}', "ERR_TAGS_UNSUPPORTED"],
    ['{"key":"a","value":1,"tags":"x"}', "ERR_TAGS_UNSUPPORTED"],
    ['{"key":"a","value":1,"tags":1}', "ERR_TAGS_UNSUPPORTED"],
    ['{"key":"a","value":1,"tags":{}}', "ERR_TAGS_UNSUPPORTED"],
    [`{"key":"a","value":1,"tags":${DEEP}}`, "ERR_TAGS_UNSUPPORTED"],
  ];
  test.each(refused.map(named))("%s with %s", async (_, code, body) => {
    await node.call("DELETE", "/api/cache");
    expectRefusal(await post(body), 400, code);
    expect((await node.get("a")).status).toBe(404);
  });

  test.each(["null", "[]", "[ \n]"])("but tags may be %j: there are none", async (tags) => {
    expect((await post(`{"key":"untagged","value":1,"tags":${tags}}`)).status).toBe(200);
  });

  const refusedPatches: Case[] = [
    ['{"increment":"1"}', "ERR_BAD_INCREMENT"],
    [`{"increment":"${"x".repeat(1_000_000)}"}`, "ERR_BAD_INCREMENT"],
    [`{"increment":${"1".repeat(1_000_000)}}`, "ERR_BAD_INCREMENT"],
    [`{"increment":${DEEP}}`, "ERR_BAD_INCREMENT"],
    [`{"ttl":"${"x".repeat(1_000_000)}"}`, "ERR_INVALID_TTL"],
    ["{}", "ERR_BAD_PATCH"],
    ["", "ERR_INVALID_JSON"],
  ];
  test.each(refusedPatches.map(named))("also by PATCH: %s with %s", async (_, code, body) => {
    await node.post("patched", "1");
    expectRefusal(await node.call("PATCH", "/api/cache/patched", { body }), 400, code);
  });

  test("and a long name of an operation is quoted in a line", async () => {
    const body = `{"operations":[{"op":"${"x".repeat(1_000_000)}","key":"a"}]}`;
    const answer = await node.call("POST", "/api/batch", { body });
    expect(answer.text).toContain("ERR_BAD_OPERATION");
    expect(answer.body.length).toBeLessThan(1_000);
  });
});

describe("every error", () => {
  const errors: [method: string, path: string, body: string, status: number, code: string][] = [
    ["GET", "/api/cache/nothing", "", 404, "ERR_NOT_FOUND"],
    ["GET", "/api/cache/%zz", "", 400, "ERR_INVALID_KEY"],
    ["GET", "/api/cache/a?%zz", "", 400, "ERR_BAD_QUERY"],
    ["GET", "/nothing", "", 404, "ERR_UNKNOWN_PATH"],
    ["GET", "/%22%3Cscript%3E", "", 404, "ERR_UNKNOWN_PATH"],
    ["GET", "/api/cache", "", 405, "ERR_METHOD_NOT_ALLOWED"],
    ["constructor", "/api/cache/a", "", 405, "ERR_METHOD_NOT_ALLOWED"],
    ["POST", "/api/cache", "{", 400, "ERR_INVALID_JSON"],
    ["POST", "/api/cache", '{"key":"","value":1}', 400, "ERR_INVALID_KEY"],
    ["PUT", "/api/cache/a?ttl=-1s", "1", 400, "ERR_INVALID_TTL"],
    ["GET", "nothing", "", 400, "ERR_BAD_REQUEST"],
  ];

  test.each(errors)(
    "has what to do, a code and a trace id of its own: %s %s %s",
    async (method, path, body, status, code) => {
      const first = await node.call(method, path, { body });
      expectRefusal(first, status, code);
      const second = await node.call(method, path, { body });
      expect(second.json().trace_id).not.toBe(first.json().trace_id);
    },
  );

  test.each(errors.slice(0, -1))("has the caller's trace id: %s %s %s", async (method, path, body, status, code) => {
    const answer = await node.call(method, path, { headers: { traceparent: TRACEPARENT }, body });
    expectRefusal(answer, status, code);
    expect(answer.json().trace_id).toBe(TRACE_ID);
  });

  test.each([
    "",
    "nonsense",
    TRACE_ID,
    TRACEPARENT.toUpperCase(),
    `00-${"0".repeat(32)}-00f067aa0ba902b7-01`,
    `00-${TRACE_ID}-${"0".repeat(16)}-01`,
    `ff-${TRACE_ID}-00f067aa0ba902b7-01`,
    `00-${TRACE_ID}"-00f067aa0ba902b7-01`,
  ])("has an id of its own where traceparent is %j", async (traceparent) => {
    const answer = await node.call("GET", "/api/cache/nothing", { headers: { traceparent } });
    expectRefusal(answer, 404, "ERR_NOT_FOUND");
    expect(answer.json().trace_id).not.toBe(TRACE_ID);
  });

  test("that is the request's affair leaves the connection open for the next one", async () => {
    await node.post("next", "1");
    const client = await RawClient.open(node.port);
    for (const request of [
      "POST /api/cache HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nGET /",
      "PUT /api/cache/%00 HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nGET /",
      "BREW /api/cache HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nGET /",
    ]) {
      await client.send(`${request}GET /api/cache/next HTTP/1.1\r\nHost: test\r\n\r\n`);
      expect((await client.answer()).status).toBeWithin(400, 406);
      expect((await client.answer()).body).toBe('{"key":"next","value":1}');
    }
    client.socket.destroy();
  });
});

/** For the names of tests: a body of megabytes by its start. */
function named([body, code]: Case): [name: string, code: string, body: string] {
  return [body.slice(0, 60), code, body];
}

function isJsonText(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}
