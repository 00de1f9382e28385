import { afterAll, describe, expect, test } from "bun:test";
import { ttlIn } from "../../support/api.ts";
import { ANSWERS, RestNode } from "../../support/rest-node.ts";

describe.each(ANSWERS)("where the engine answers %s,", (answers) => {
  const node = new RestNode({ answers });
  afterAll(() => {
    node[Symbol.dispose]();
    expect(node.errors).toEqual([]);
  });

  function patch(key: string, body: string) {
    return node.call("PATCH", `/api/cache/${key}`, { body });
  }

  describe("a touch", () => {
    test("sets another TTL, and answers key and value", async () => {
      await node.post("touched", '{"a":1.0}', ',"ttl":"1s"');
      expect((await patch("touched", '{"ttl":"1m"}')).text).toBe('{"key":"touched","value":{"a":1.0}}');
      node.clock.nowMs += 59_000;
      expect((await node.get("touched")).headers.get("cache-status")).toBe("ServCache; hit; ttl=1");
      await patch("touched", '{"ttl":"0"}');
      expect(ttlIn(await node.get("touched"))).toBeNull();
    });

    test("of a value that isn't JSON answers that it was done", async () => {
      await node.call("PUT", "/api/cache/bytes", { body: "x" });
      expect((await patch("bytes", '{"ttl":"1m"}')).text).toBe('{"status":"success"}');
    });

    test("of a value that isn't JSON keeps its bytes and type", async () => {
      await node.call("PUT", "/api/cache/typed?ttl=1s", { headers: { "Content-Type": "text/x" }, body: "{}" });
      expect((await patch("typed", '{"ttl":"1m"}')).status).toBe(200);
      const answer = await node.get("typed");
      expect([answer.text, answer.headers.get("content-type")]).toEqual(["{}", "text/x"]);
      expect(answer.headers.get("cache-status")).toBe("ServCache; hit; ttl=60");
    });

    test("keeps the ETag, for the value is the same, and its answer has it", async () => {
      await node.post("tagged", "1");
      const before = (await node.get("tagged")).headers.get("etag");
      const touched = (await patch("tagged", '{"ttl":"1m"}')).headers.get("etag");
      expect(touched).toBe(before ?? "none");
      expect((await node.get("tagged")).headers.get("etag")).toBe(touched ?? "none");
    });

    test.each([
      ["300ms", 300],
      ["1.5h", 5_400_000],
      ["1us", 1],
    ])("of %s lets the entry end after %d ms, whatever it had left", async (ttl, ms) => {
      for (const before of ["", ',"ttl":"1h"', ',"ttl":"2s"']) {
        await node.post("ends", "1", before);
        await patch("ends", JSON.stringify({ ttl }));
        node.clock.nowMs += ms - 1;
        expect((await node.get("ends")).status).toBe(200);
        node.clock.nowMs += 1;
        expect((await node.get("ends")).status).toBe(404);
      }
    });

    test.each(["0", '"0"', '"0s"'])("of %s lets the entry live for ever", async (ttl) => {
      await node.post("for-ever", "1", ',"ttl":"1s"');
      expect((await patch("for-ever", `{"ttl":${ttl}}`)).status).toBe(200);
      node.clock.nowMs += 365 * 24 * 3_600_000;
      expect((await node.get("for-ever")).status).toBe(200);
    });

    test("of nothing, or of what has expired, is 404 and makes no entry", async () => {
      await node.post("expired", "1", ',"ttl":"1s"');
      node.clock.nowMs += 1_000;
      for (const key of ["nothing", "expired"]) {
        const answer = await patch(key, '{"ttl":"1m"}');
        expect([answer.status, answer.json().code]).toEqual([404, "ERR_NOT_FOUND"]);
        expect((await node.get(key)).status).toBe(404);
      }
    });

    test.each(['"-1s"', '"x"', '""', "5", "true", "{}", '["1m"]'])(
      "of %s is refused, and nothing changes",
      async (ttl) => {
        await node.post("kept", "1", ',"ttl":"1m"');
        const etag = (await node.get("kept")).headers.get("etag") ?? "none";
        const answer = await patch("kept", `{"ttl":${ttl}}`);
        expect([answer.status, answer.json().code]).toEqual([400, "ERR_INVALID_TTL"]);
        expect((await node.get("kept")).headers.get("etag")).toBe(etag);
      },
    );
  });

  describe("an increment", () => {
    test("counts from 0, up and down, and keeps the TTL", async () => {
      expect((await patch("counter", '{"increment":5}')).text).toBe('{"key":"counter","value":5}');
      await patch("counter", '{"ttl":"1m"}');
      expect((await patch("counter", '{"increment":-7}')).text).toBe('{"key":"counter","value":-2}');
      expect((await node.get("counter")).headers.get("cache-status")).toBe("ServCache; hit; ttl=60");
    });

    test("of what is absent, deleted or expired gets the default TTL, and of what is there does not", async () => {
      using withDefault = new RestNode({ answers, defaultTtlMs: 60_000 });
      const count = (key: string) => withDefault.call("PATCH", `/api/cache/${key}`, { body: '{"increment":-3}' });
      const ageOf = async (key: string) => ttlIn(await withDefault.get(key));
      await withDefault.post("expired", "7", ',"ttl":"1s"');
      await withDefault.post("deleted", "7");
      await withDefault.call("DELETE", "/api/cache/deleted");
      await withDefault.post("hour", "7", ',"ttl":"1h"');
      await withDefault.post("for-ever", "7", ',"ttl":"0"');
      withDefault.clock.nowMs += 1_000;
      for (const key of ["absent", "expired", "deleted"]) {
        expect((await count(key)).json().value).toBe(-3);
        expect(await ageOf(key)).toBe(60);
      }
      withDefault.clock.nowMs += 1_000;
      expect((await count("absent")).json().value).toBe(-6);
      expect(await ageOf("absent")).toBe(59);
      expect((await count("hour")).json().value).toBe(4);
      expect(await ageOf("hour")).toBe(3598);
      expect((await count("for-ever")).json().value).toBe(4);
      expect(await ageOf("for-ever")).toBeNull();
    });

    test("answers its key as JSON, and is a JSON value like any other", async () => {
      const answer = await patch("qu%22o%C3%A4%5C", '{"increment":0}');
      expect(answer.text).toBe('{"key":"qu\\"oä\\\\","value":0}');
      expect(answer.headers.get("content-type")).toBe("application/json");
      expect((await node.get('qu"oä\\')).text).toBe(answer.text);
    });

    test("from 20 connections at once adds up, each with a value of its own", async () => {
      const rounds = Array.from({ length: 5 }, () =>
        Array.from({ length: 20 }, () => patch("busy", '{"increment":1}')),
      );
      const values = (await Promise.all(rounds.flat())).map((answer) => answer.json().value);
      expect(values.sort((one, other) => one - other)).toEqual(Array.from({ length: 100 }, (_, at) => at + 1));
      expect((await node.get("busy")).json().value).toBe(100);
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

  test.each(['"1"', "1.5", "1.0", "1e2", "null", "true", "[1]", "{}", "9007199254740992", "-9007199254740993"])(
    "the value %s can't be counted on, and stays",
    async (value) => {
      await node.post("value", value);
      const answer = await patch("value", '{"increment":1}');
      expect([answer.status, answer.json().code]).toEqual([409, "ERR_NOT_AN_INTEGER"]);
      expect((await node.call("GET", "/api/cache/value?raw")).text).toBe(value);
    },
  );

  test("bytes can't be counted on, even if they are digits", async () => {
    await node.call("PUT", "/api/cache/digits", { headers: { "Content-Type": "text/plain" }, body: "5" });
    expect((await patch("digits", '{"increment":1}')).json().code).toBe("ERR_NOT_AN_INTEGER");
    expect((await node.get("digits")).text).toBe("5");
  });

  test.each([
    [9007199254740991, 1],
    [-9007199254740991, -1],
    [1, 9007199254740991],
  ])("%d and %d are out of range, and nothing is counted", async (value, increment) => {
    await node.post("edge", String(value));
    const answer = await patch("edge", JSON.stringify({ increment }));
    expect([answer.status, answer.json().code]).toEqual([409, "ERR_OUT_OF_RANGE"]);
    expect((await node.get("edge")).json().value).toBe(value);
  });

  test.each([
    ["", "ERR_INVALID_JSON"],
    ["1", "ERR_INVALID_JSON"],
    ['{"increment":01}', "ERR_INVALID_JSON"],
    ['{"value":1}', "ERR_BAD_PATCH"],
    ['{"ttl":"1m","increment":null}', "ERR_BAD_PATCH"],
    ['{"increment":1e2}', "ERR_BAD_INCREMENT"],
    ['{"increment":9007199254740992}', "ERR_BAD_INCREMENT"],
    ['{"increment":true}', "ERR_BAD_INCREMENT"],
    ['{"increment":1,"tags":["a"]}', "ERR_TAGS_UNSUPPORTED"],
    ['{"ttl":"1m","tags":"a"}', "ERR_TAGS_UNSUPPORTED"],
  ])("%j is refused with %s", async (body, code) => {
    await node.post("counter", "1");
    const answer = await patch("counter", body);
    expect([answer.status, answer.json().code]).toEqual([400, code]);
    expect((await node.get("counter")).json().value).toBe(1);
  });

  test.each(["{}", '{"ttl":"1m","increment":1}', '{"increment":1.5}', '{"increment":"1"}', '{"increment":null}', "[]"])(
    "%s is refused",
    async (body) => {
      expect((await patch("counter", body)).status).toBe(400);
    },
  );
});
