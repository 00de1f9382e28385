import { afterAll, describe, expect, test } from "bun:test";
import { RestNode } from "../../support/rest-node.ts";

const node = new RestNode();
afterAll(() => node[Symbol.dispose]());

function patch(key: string, body: string) {
  return node.call("PATCH", `/api/cache/${key}`, { body });
}

describe("a touch", () => {
  test("sets another TTL, and answers key and value", async () => {
    await node.post("touched", '{"a":1.0}', ',"ttl":"1s"');
    expect((await patch("touched", '{"ttl":"1m"}')).text).toBe('{"key":"touched","value":{"a":1.0}}');
    node.clock.nowMs += 59_000;
    expect((await node.get("touched")).headers.get("cache-control")).toBe("max-age=1");
    await patch("touched", '{"ttl":"0"}');
    expect((await node.get("touched")).headers.has("cache-control")).toBe(false);
  });

  test("of a value that isn't JSON answers that it was done", async () => {
    await node.call("PUT", "/api/cache/bytes", { body: "x" });
    expect((await patch("bytes", '{"ttl":"1m"}')).text).toBe('{"status":"success"}');
  });

  test("of nothing is 404", async () => {
    expect((await patch("nothing", '{"ttl":"1m"}')).json().code).toBe("ERR_NOT_FOUND");
  });
});

describe("an increment", () => {
  test("counts from 0, up and down, and keeps the TTL", async () => {
    expect((await patch("counter", '{"increment":5}')).text).toBe('{"key":"counter","value":5}');
    await patch("counter", '{"ttl":"1m"}');
    expect((await patch("counter", '{"increment":-7}')).text).toBe('{"key":"counter","value":-2}');
    expect((await node.get("counter")).headers.get("cache-control")).toBe("max-age=60");
  });

  test("from many connections at once adds up", async () => {
    await Promise.all(Array.from({ length: 50 }, () => patch("busy", '{"increment":1}')));
    expect((await node.get("busy")).json().value).toBe(50);
  });

  test("of what is no integer, or beyond 2^53, is a conflict", async () => {
    await node.post("text", '"1"');
    expect((await patch("text", '{"increment":1}')).json().code).toBe("ERR_NOT_AN_INTEGER");
    await node.post("fraction", "1.0");
    expect((await patch("fraction", '{"increment":1}')).status).toBe(409);
    await node.post("large", "9007199254740991");
    expect((await patch("large", '{"increment":1}')).json().code).toBe("ERR_OUT_OF_RANGE");
    expect((await patch("large", '{"increment":-1}')).json().value).toBe(9007199254740990);
  });
});

test.each(["{}", '{"ttl":"1m","increment":1}', '{"increment":1.5}', '{"increment":"1"}', '{"increment":null}', "[]"])(
  "%s is refused",
  async (body) => {
    expect((await patch("counter", body)).status).toBe(400);
  },
);
