import { afterAll, describe, expect, test } from "bun:test";
import { ANSWERS, RestNode } from "../../support/rest-node.ts";

describe.each(ANSWERS)("where the engine answers %s,", (answers) => {
  const node = new RestNode({ answers });
  afterAll(() => {
    node[Symbol.dispose]();
    expect(node.errors).toEqual([]);
  });

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
        expect(answer.headers.get("cache-status")).toBe("ServCache; hit; ttl=60");
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

  test("every write of a value changes the ETag, to one that the key never had", async () => {
    const writes = [
      ["POST", "/api/cache", '{"key":"writes","value":1}'],
      ["POST", "/api/cache", '{"key":"writes","value":1}'],
      ["PUT", "/api/cache/writes", "1"],
      ["POST", "/api/cache", '{"key":"writes","value":1}'],
      ["PATCH", "/api/cache/writes", '{"increment":0}'],
      ["POST", "/api/batch", '{"operations":[{"op":"set","key":"writes","value":1}]}'],
      ["POST", "/api/batch", '{"operations":[{"op":"delete","key":"writes"},{"op":"set","key":"writes","value":1}]}'],
    ] as const;
    const seen = new Set<string>();
    for (const [method, path, body] of writes) {
      expect((await node.call(method, path, { body })).status).toBe(200);
      seen.add(await etagOf("writes"));
    }
    expect(seen.size).toBe(writes.length);
    expect(seen.has("")).toBe(false);
  });

  test("the ETag of the document does not hide a change of representation, nor that of the raw value", async () => {
    await node.post("forms", "1");
    const [document, raw] = [await etagOf("forms"), await etagOf("forms", "?raw")];
    const status = async (query: string, etag: string) =>
      (await node.call("GET", `/api/cache/forms${query}`, { headers: { "If-None-Match": etag } })).status;
    expect(await status("", document)).toBe(304);
    expect(await status("?raw", raw)).toBe(304);
    expect(await status("", raw)).toBe(200);
    expect(await status("?raw", document)).toBe(200);
  });

  test("bytes have one ETag, because they have one representation", async () => {
    await node.call("PUT", "/api/cache/bytes", { headers: { "Content-Type": "text/plain" }, body: "x" });
    const etag = await etagOf("bytes");
    expect(await etagOf("bytes", "?raw")).toBe(etag);
    const answer = await node.get("bytes", { "If-None-Match": etag });
    expect([answer.status, answer.text, answer.headers.get("etag")]).toEqual([304, "", etag]);
    expect(answer.headers.get("cache-control")).toBe("no-cache");
  });

  test("tags may come in a list with any white space, and in several headers", async () => {
    await node.post("listed", "1");
    const etag = await etagOf("listed");
    for (const header of [`"a","b",${etag}`, ` ${etag} `, `,"a", ,${etag},`, `W/"a"\t,  W/${etag}`]) {
      expect((await node.get("listed", { "If-None-Match": header })).status).toBe(304);
    }
    const headers = { "If-None-Match": '"a"', "if-none-match": etag };
    expect((await node.call("GET", "/api/cache/listed", { headers })).status).toBe(304);
  });

  test("a GET of what is absent is 404, whatever the condition", async () => {
    for (const header of ["*", '"a"', ""]) {
      expect((await node.get("absent", { "If-None-Match": header })).status).toBe(404);
    }
  });

  test.each(MUTATIONS)("If-Match stops %s %s with %s where there is no entry", async (method, path, body) => {
    await node.post("guarded", "1");
    const etag = await etagOf("guarded");
    await node.call("DELETE", "/api/cache/guarded");
    for (const header of ["*", etag, '"another"']) {
      const answer = await node.call(method, path, { headers: { "If-Match": header }, body });
      expect([answer.status, answer.json().code]).toEqual([412, "ERR_PRECONDITION_FAILED"]);
    }
    expect((await node.get("guarded")).status).toBe(404);
  });

  test("an expired entry is absent for conditions", async () => {
    await node.post("expires", "1", ',"ttl":"1s"');
    const etag = await etagOf("expires");
    node.clock.nowMs += 1_000;
    const put = (headers: Record<string, string>) => node.call("PUT", "/api/cache/expires", { headers, body: "1" });
    expect((await put({ "If-Match": etag })).status).toBe(412);
    expect((await put({ "If-None-Match": "*" })).status).toBe(200);
  });

  test("of many that put if absent at once, one succeeds; of many that replace the same version too", async () => {
    const race = async (headers: Record<string, string>) => {
      const calls = Array.from({ length: 20 }, () => node.call("PUT", "/api/cache/raced", { headers, body: "1" }));
      return (await Promise.all(calls)).filter((answer) => answer.status === 200).length;
    };
    expect(await race({ "If-None-Match": "*" })).toBe(1);
    expect(await race({ "If-Match": await etagOf("raced") })).toBe(1);
  });

  test.each(MUTATIONS)("a condition that can't be understood stops %s %s with %s", async (method, path, body) => {
    await node.post("guarded", "1");
    const etag = await etagOf("guarded");
    const headers = [
      { "If-Match": "*", "If-None-Match": "*" },
      { "If-Match": etag, "If-None-Match": '"b"' },
      ...["", ",", "unquoted", '"', 'W/"', '"a" "b"', "*, *", `*, ${etag}`, `${etag}, b`, `w/${etag}`, "W/*"].flatMap(
        (header) => [{ "If-Match": header }, { "If-None-Match": header }],
      ),
    ];
    for (const header of headers) {
      const answer = await node.call(method, path, { headers: header, body });
      expect([header, answer.status, answer.status === 200 ? "" : answer.json().code]).toEqual([
        header,
        400,
        "ERR_BAD_CONDITION",
      ]);
    }
    expect(await etagOf("guarded")).toBe(etag);
  });
});
