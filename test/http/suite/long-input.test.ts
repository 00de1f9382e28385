import { afterAll, describe, expect, test } from "bun:test";
import { RestNode } from "../../support/rest-node.ts";

const node = new RestNode();
afterAll(() => {
  node[Symbol.dispose]();
  expect(node.errors).toEqual([]);
});

/** More than any explanation needs, and far less than what was sent. */
const MOST_ERROR_BYTES = 1_000;
const MANY = 1_000_000;

const nested = (levels: number) => "[".repeat(levels) + "]".repeat(levels);
const post = (members: string) => ["POST", "/api/cache", `{"key":"bad","value":1,${members}}`] as const;
const patch = (members: string) => ["PATCH", "/api/cache/bad", `{${members}}`] as const;

describe("an error quotes the beginning of what was sent, not all of it:", () => {
  test.each([
    ["a long TTL", ...post(`"ttl":"${"x".repeat(MANY)}"`), "ERR_INVALID_TTL"],
    ["a TTL of quotes", ...post(`"ttl":"${'\\"'.repeat(MANY)}"`), "ERR_INVALID_TTL"],
    ["a TTL of emoji", ...post(`"ttl":"a${"😀".repeat(60)}"`), "ERR_INVALID_TTL"],
    ["a nested TTL", ...post(`"ttl":${nested(200_000)}`), "ERR_INVALID_TTL"],
    ["a TTL of digits", ...post(`"ttl":${"9".repeat(MANY)}`), "ERR_INVALID_TTL"],
    ["a long key that is no string", "POST", "/api/cache", `{"key":${nested(200_000)},"value":1}`, "ERR_INVALID_KEY"],
    ["a nested touch", ...patch(`"ttl":${nested(200_000)}`), "ERR_INVALID_TTL"],
    ["a nested increment", ...patch(`"increment":${nested(200_000)}`), "ERR_BAD_INCREMENT"],
    ["an increment of digits", ...patch(`"increment":${"9".repeat(MANY)}`), "ERR_BAD_INCREMENT"],
    ["an increment of emoji", ...patch(`"increment":"${"😀".repeat(MANY)}"`), "ERR_BAD_INCREMENT"],
    ["an increment of text", ...patch(`"increment":"${"ä".repeat(MANY)}"`), "ERR_BAD_INCREMENT"],
    ["tags", ...post(`"tags":${nested(200_000)}`), "ERR_TAGS_UNSUPPORTED"],
    ["a limit", "GET", `/api/keys?limit=${"9".repeat(7_000)}`, "", "ERR_BAD_LIMIT"],
    ["a cursor", "GET", `/api/keys?cursor=${"%22".repeat(2_000)}`, "", "ERR_INVALID_CURSOR"],
    ["an unknown parameter", "DELETE", `/api/cache?${"x".repeat(5_000)}`, "", "ERR_BAD_QUERY"],
    ["a query", "GET", `/api/keys?pattern=%zz${"%22".repeat(2_000)}`, "", "ERR_BAD_QUERY"],
    ["a path", "GET", `/${"%22".repeat(2_000)}`, "", "ERR_UNKNOWN_PATH"],
  ] as const)("%s", async (_, method, path, body, code) => {
    const answer = await node.call(method, path, { body });
    expect(answer.json().code).toBe(code);
    expect(answer.body.length).toBeLessThan(MOST_ERROR_BYTES);
    expect(answer.text).not.toMatch(/\ufffd|\\ud[89a-f]/);
  });

  test("a condition", async () => {
    const headers = { "If-Match": "x".repeat(10_000) };
    const answer = await node.call("DELETE", "/api/cache/bad", { headers });
    expect([answer.status, answer.json().code]).toEqual([400, "ERR_BAD_CONDITION"]);
    expect(answer.body.length).toBeLessThan(MOST_ERROR_BYTES);
  });

  test("an operation of a batch", async () => {
    for (const op of [`"${"x".repeat(MANY)}"`, nested(200_000), `"${"\\u0000".repeat(MANY)}"`]) {
      const answer = await node.call("POST", "/api/batch", { body: `{"operations":[{"op":${op},"key":"bad"}]}` });
      expect(answer.json().results).toMatchObject([{ status: 400, key: "bad", code: "ERR_BAD_OPERATION" }]);
      expect(answer.body.length).toBeLessThan(MOST_ERROR_BYTES);
    }
  });

  test("what is short stands there whole", async () => {
    const answer = await node.call(...asCall(post('"ttl":"eine \\"Stunde\\""')));
    expect(answer.json().error).toStartWith('ttl is "eine \\"Stunde\\"", which is');
    const counted = await node.call(...asCall(patch('"increment":1.5')));
    expect(counted.json().error).toStartWith("increment is 1.5: send");
  });
});

test("a body that ends in the middle changes nothing", async () => {
  const body = '{"operations":[{"op":"set","key":"half","value":1},';
  const answer = await node.call("POST", "/api/batch", { body });
  expect([answer.status, answer.json().code]).toEqual([400, "ERR_INVALID_JSON"]);
  expect((await node.get("half")).status).toBe(404);
});

function asCall([method, path, body]: readonly [string, string, string]): [string, string, { body: string }] {
  return [method, path, { body }];
}
