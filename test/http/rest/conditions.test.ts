import { afterAll, expect, test } from "bun:test";
import { RestNode } from "../../support/rest-node.ts";

const node = new RestNode();
afterAll(() => node[Symbol.dispose]());

async function etagOf(key: string, query = ""): Promise<string> {
  return (await node.call("GET", `/api/cache/${key}${query}`)).headers.get("etag") ?? "";
}

test("every write changes the ETag; document and raw value have different ones", async () => {
  await node.post("changing", "1");
  const first = await etagOf("changing");
  expect(first).toMatch(/^"[0-9a-z.]+"$/);
  expect(await etagOf("changing")).toBe(first);
  expect(await etagOf("changing", "?raw")).not.toBe(first);
  await node.post("changing", "1");
  expect(await etagOf("changing")).not.toBe(first);
});

test("a GET or HEAD that names the ETag gets 304 with ETag and Cache-Control, without a body", async () => {
  await node.post("known", "1", ',"ttl":"1m"');
  const etag = await etagOf("known");
  for (const header of [etag, `W/${etag}`, `"other", ${etag}`, "*"]) {
    for (const method of ["GET", "HEAD"]) {
      const answer = await node.call(method, "/api/cache/known", { headers: { "If-None-Match": header } });
      expect([answer.status, answer.text]).toEqual([304, ""]);
      expect(answer.headers.get("etag")).toBe(etag);
      expect(answer.headers.get("cache-control")).toBe("max-age=60");
    }
  }
  const other = await node.get("known", { "If-None-Match": '"other"' });
  expect(other.status).toBe(200);
});

const MUTATIONS = [
  ["POST", "/api/cache", '{"key":"guarded","value":2}'],
  ["PUT", "/api/cache/guarded", "2"],
  ["PATCH", "/api/cache/guarded", '{"ttl":"5m"}'],
  ["PATCH", "/api/cache/guarded", '{"increment":1}'],
  ["DELETE", "/api/cache/guarded", ""],
] as const;

test.each(MUTATIONS)("%s %s %s is done only where its condition holds", async (method, path, body) => {
  await node.post("guarded", "1");
  const etag = await etagOf("guarded");
  const raw = await etagOf("guarded", "?raw");
  const call = async (headers: Record<string, string>) => {
    const answer = await node.call(method, path, { headers, body });
    return [answer.status, answer.status === 200 ? "" : answer.json().code];
  };
  const failed = [412, "ERR_PRECONDITION_FAILED"];
  expect(await call({ "If-None-Match": "*" })).toEqual(failed);
  expect(await call({ "If-None-Match": `W/${etag}` })).toEqual(failed);
  expect(await call({ "If-Match": '"another"' })).toEqual(failed);
  expect(await call({ "If-Match": `W/${etag}` })).toEqual(failed);
  expect((await node.get("guarded")).headers.get("etag")).toBe(etag);
  expect(await call({ "If-Match": `"another", ${raw}` })).toEqual([200, ""]);
});

test("If-Match: * and If-None-Match: * ask for an entry that is there, or isn't", async () => {
  const put = (headers: Record<string, string>) => node.call("PUT", "/api/cache/new", { headers, body: "1" });
  expect((await put({ "If-Match": "*" })).status).toBe(412);
  expect((await put({ "If-None-Match": "*" })).status).toBe(200);
  expect((await put({ "If-None-Match": "*" })).status).toBe(412);
  expect((await put({ "If-Match": "*" })).status).toBe(200);
});

test.each([[{ "If-Match": "unquoted" }], [{ "If-None-Match": "" }], [{ "If-Match": '"a"', "If-None-Match": '"b"' }]])(
  "a condition that can't be understood is refused: %j",
  async (headers) => {
    const answer = await node.call("PUT", "/api/cache/key", { headers, body: "1" });
    expect([answer.status, answer.json().code]).toEqual([400, "ERR_BAD_CONDITION"]);
  },
);
