import { describe, expect, test } from "bun:test";
import { RestNode } from "../../support/rest-node.ts";

describe("routing", () => {
  test.each(["/", "/api", "/api/", "/api/cach", "/api/v2/cache/a", "/openapi.json", "/api/batch/", "/health/x", "*"])(
    "%s is unknown",
    async (path) => {
      using node = new RestNode();
      const answer = await node.call("GET", path);
      expect([answer.status, answer.json().code]).toEqual([404, "ERR_UNKNOWN_PATH"]);
    },
  );

  test.each([
    ["POST", "/api/cache/key", "GET, HEAD, PUT, PATCH, DELETE"],
    ["OPTIONS", "/api/cache/key", "GET, HEAD, PUT, PATCH, DELETE"],
    ["GET", "/api/cache", "POST, DELETE"],
    ["toString", "/api/cache", "POST, DELETE"],
    ["GET", "/api/batch", "POST"],
    ["DELETE", "/api/v1/keys", "GET, HEAD"],
    ["POST", "/health", "GET, HEAD"],
  ])("%s %s is 405, and Allow says %s", async (method, path, allow) => {
    using node = new RestNode();
    const answer = await node.call(method, path);
    expect([answer.status, answer.json().code]).toEqual([405, "ERR_METHOD_NOT_ALLOWED"]);
    expect(answer.headers.get("allow")).toBe(allow);
  });

  test("HEAD answers as GET does, without a body", async () => {
    using node = new RestNode();
    await node.post("key", '"value"');
    for (const path of [
      "/api/cache/key",
      "/api/cache/key?raw",
      "/api/cache/absent",
      "/api/stats",
      "/health",
      "/api/version",
    ]) {
      const get = await node.call("GET", path);
      const head = await node.call("HEAD", path);
      expect([head.status, head.text]).toEqual([get.status, ""]);
      expect(head.headers.get("content-length")).toBe(get.headers.get("content-length"));
      expect(head.headers.get("content-type")).toBe(get.headers.get("content-type"));
    }
  });
});
