import { describe, expect, test } from "bun:test";
import { expectError, expectSuccess, startTestApi, WAYS_TO_ANSWER } from "../../support/api.ts";

describe.each(WAYS_TO_ANSWER)("a key in a path, where the engine answers %s,", (_, engine) => {
  test.each([
    ["a", "a"],
    ["a/b/c", "a/b/c"],
    ["a%2Fb", "a/b"],
    ["a/", "a/"],
    ["/", "/"],
    ["a//b", "a//b"],
    ["..", ".."],
    ["../../etc/passwd", "../../etc/passwd"],
    [".", "."],
    ["a+b", "a+b"],
    ["a%2Bb%20c", "a+b c"],
    ["%3Fraw", "?raw"],
    ["%25zz", "%zz"],
    ["%C3%A4%F0%9F%98%80", "ä😀"],
    ["__proto__", "__proto__"],
    ["constructor", "constructor"],
    ["toString", "toString"],
    ["%22%5C", '"\\'],
    ["~!$&'()*,;=:@", "~!$&'()*,;=:@"],
    [encodeURIComponent("ä".repeat(512)), "ä".repeat(512)],
  ])("%s is %p", async (path, key) => {
    using api = await startTestApi({ engine });
    expectError(await api.call("GET", `/api/cache/${path}`), 404, "ERR_NOT_FOUND");
    expectSuccess(await api.call("POST", "/api/cache", { body: JSON.stringify({ key, value: 1 }) }));
    for (const base of ["/api/cache/", "/api/v1/cache/"]) {
      const answer = await api.call("GET", `${base}${path}`);
      expect([answer.status, answer.body]).toEqual([200, `{"key":${JSON.stringify(key)},"value":1}`]);
    }
    expect(JSON.parse((await api.call("GET", "/api/keys")).body).keys).toEqual([key]);
    expectSuccess(await api.call("DELETE", `/api/cache/${path}`));
    expectError(await api.call("GET", `/api/cache/${path}`), 404, "ERR_NOT_FOUND");
  });

  test.each([
    "",
    "%",
    "%4",
    "%zz",
    "a%0",
    "%00",
    "%0a",
    "%1F",
    "%7f",
    "%C2%80",
    "%ff",
    "%C3",
    "%C0%80",
    "%ED%A0%80",
    "%F5%80%80%80",
    "x".repeat(1025),
    `${"x".repeat(1023)}%C3%A4`,
  ])("%j is refused by every method", async (path) => {
    using api = await startTestApi({ engine });
    for (const method of ["GET", "PUT", "PATCH", "DELETE"]) {
      expectError(await api.call(method, `/api/cache/${path}`), 400, "ERR_INVALID_KEY");
    }
    expect((await api.call("HEAD", `/api/cache/${path}`)).status).toBe(400);
  });
});
