import { describe, expect, test } from "bun:test";
import { RestNode } from "../../support/rest-node.ts";

const ENTRY = ["GET", "HEAD", "PUT", "PATCH", "DELETE"];
const READ = ["GET", "HEAD"];
const METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "get", "toString"];

const PATHS: readonly (readonly [string, readonly string[]])[] = [
  ["/api/cache", ["POST", "DELETE"]],
  ["/api/cache/key", ENTRY],
  ["/api/batch", ["POST"]],
  ["/api/keys", READ],
  ["/api/stats", READ],
  ["/api/version", READ],
  ["/health", READ],
  ["/healthz", READ],
  ["/readyz", READ],
  ["/metrics", READ],
];

const versioned = (path: string) => path.replace("/api/", "/api/v1/");

describe("routing", () => {
  test.each([...PATHS, ...PATHS.map(([path, allowed]) => [versioned(path), allowed] as const)])(
    "%s has the methods %j; each other is 405 with Allow, and OPTIONS tells them",
    async (path, allowed) => {
      using node = new RestNode();
      await node.post("key", "1");
      for (const method of METHODS) {
        const answer = await node.call(method, path, { body: "{}" });
        if (allowed.includes(method)) {
          expect([method, answer.status === 405, answer.headers.has("allow")]).toEqual([method, false, false]);
          continue;
        }
        const isOptions = method === "OPTIONS";
        const names = [...allowed, "OPTIONS"].join(", ");
        expect([method, answer.status, answer.headers.get("allow")]).toEqual([method, isOptions ? 204 : 405, names]);
        expect(answer.headers.get("cache-control")).toBe("no-store");
        if (isOptions) expect(answer.text).toBe("");
        else if (method !== "HEAD") expect(answer.json().code).toBe("ERR_METHOD_NOT_ALLOWED");
      }
      expect(node.errors).toEqual([]);
    },
  );

  test.each([
    "/",
    "/api",
    "/api/",
    "/api/v1",
    "/api/v1/",
    "/api/v2/cache/key",
    "/api/v1/v1/cache/key",
    "/api/v1/health",
    "/api/cach",
    "/api/caches",
    "/api/cachet",
    "/api/../api/cache/k",
    "/v1/cache/k",
    "/API/cache/key",
    "/api//cache/key",
    "//api/cache/key",
    "/api/%63ache/key",
    "/api/./cache/key",
    "/openapi.json",
    "/favicon.ico",
    "/__proto__",
    "/api/constructor",
    "/%00",
    "/%zz",
    '/"<script>',
  ])("%s is unknown, whatever the method", async (path) => {
    using node = new RestNode();
    for (const method of ["GET", "POST", "DELETE", "OPTIONS"]) {
      const answer = await node.call(method, path);
      expect([answer.status, answer.json().code]).toEqual([404, "ERR_UNKNOWN_PATH"]);
    }
    expect((await node.call("HEAD", path)).text).toBe("");
  });

  test("OPTIONS * tells all methods; no other method knows *", async () => {
    using node = new RestNode();
    for (const target of ["*", "http://test"]) {
      const answer = await node.call("OPTIONS", target);
      expect([answer.status, answer.text]).toEqual([204, ""]);
      expect(answer.headers.get("allow")).toBe("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
    }
    for (const target of ["*", "http://test"]) expect((await node.call("GET", target)).status).toBe(404);
  });

  test.each(PATHS.map(([path]) => path).filter((path) => !path.startsWith("/api/cache")))(
    "%s with a slash behind it is unknown",
    async (path) => {
      using node = new RestNode();
      expect((await node.call("GET", `${path}/`)).status).toBe(404);
    },
  );

  test("a slash behind /api/cache asks for a key; one behind a key belongs to it", async () => {
    using node = new RestNode();
    await node.post("key", "1");
    for (const method of ["GET", "PUT", "PATCH", "DELETE"]) {
      const answer = await node.call(method, "/api/cache/", { body: "1" });
      expect([answer.status, answer.json().code]).toEqual([400, "ERR_INVALID_KEY"]);
    }
    expect((await node.call("GET", "/api/cache/key/")).status).toBe(404);
    expect((await node.get("key")).status).toBe(200);
  });

  test("/api/v1 is the same API", async () => {
    using node = new RestNode();
    const v1 = async (method: string, path: string, body = "") =>
      (await node.call(method, `/api/v1${path}`, { body })).text;
    expect(await v1("POST", "/cache", '{"key":"key","value":1}')).toBe('{"status":"success"}');
    expect(await v1("GET", "/cache/key")).toBe('{"key":"key","value":1}');
    expect(await v1("GET", "/cache/key?raw")).toBe("1");
    expect((await node.get("key")).text).toBe('{"key":"key","value":1}');
    expect(await v1("PATCH", "/cache/key", '{"increment":2}')).toBe('{"key":"key","value":3}');
    expect(await v1("PUT", "/cache/key", "bytes")).toBe('{"status":"success"}');
    expect(await v1("GET", "/keys?limit=5")).toBe('{"keys":["key"],"cursor":null}');
    expect(await v1("DELETE", "/cache/key")).toBe('{"status":"success"}');
    expect(await v1("POST", "/batch", '{"operations":[{"op":"set","key":"a","value":1}]}')).toBe(
      '{"results":[{"status":200,"key":"a"}]}',
    );
    expect(await v1("DELETE", "/cache?pattern=a")).toBe('{"status":"success","deleted":1}');
    expect(await v1("GET", "/version")).toBe('{"version":"1.2.3"}');
    expect(JSON.parse(await v1("GET", "/stats"))).toMatchObject({ entries: 0, sets: 4 });
  });

  test("v1 alone is a key like any other", async () => {
    using node = new RestNode();
    await node.post("v1/cache/key", "1");
    expect((await node.call("GET", "/api/cache/v1/cache/key")).json().key).toBe("v1/cache/key");
  });

  test.each([
    "/api/cache/key",
    "/api/cache/key?raw",
    "/api/cache/bytes",
    "/api/cache/absent",
    "/api/cache/%zz",
    "/api/keys",
    "/api/keys?limit=0",
    "/api/stats",
    "/api/version",
    "/health",
    "/healthz",
    "/readyz",
    "/unknown",
  ])("HEAD %s answers as GET does, without a body", async (path) => {
    using node = new RestNode();
    await node.post("key", '"value"', ',"ttl":"1m"');
    await node.call("PUT", "/api/cache/bytes", { headers: { "Content-Type": "text/plain" }, body: "bytes" });
    const get = await node.call("GET", path);
    const head = await node.call("HEAD", path);
    expect([head.status, head.text]).toEqual([get.status, ""]);
    const ofEntry = ["content-length", "content-type", "etag", "cache-control", "x-content-type-options"];
    for (const name of ofEntry) expect([name, head.headers.get(name)]).toEqual([name, get.headers.get(name)]);
    expect(get.headers.get("content-length")).toBe(String(get.body.length));
  });

  test("a query is no part of the path, nor the path of a query", async () => {
    using node = new RestNode();
    await node.post("a?b", "1");
    expect((await node.call("GET", "/api/cache/a%3Fb?raw")).text).toBe("1");
    expect((await node.call("GET", "/healthz?/api/cache/a")).status).toBe(400);
    expect((await node.call("GET", "/api/keys?pattern=a?b&limit=1/api/cache/y")).status).toBe(400);
    expect((await node.call("GET", "/api/keys?pattern=a?b")).text).toBe('{"keys":["a?b"],"cursor":null}');
    expect((await node.call("GET", "/api?/cache/a")).status).toBe(404);
    expect((await node.call("GET", "/api/cache/a%3Fb?")).json().key).toBe("a?b");
  });
});
