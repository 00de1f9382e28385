import { describe, expect, test } from "bun:test";
import { versionAt } from "../../../src/model/hybrid-clock.ts";
import { expectError, expectSuccess, startTestApi, type TestApi, WAYS_TO_ANSWER } from "../../support/api.ts";
import { keyOf } from "../../support/engine-io.ts";

const FOREIGN = '"something-else"';

async function etagOf(api: TestApi, target = "/api/cache/k"): Promise<string> {
  return (await api.call("GET", target)).headers.get("etag") ?? "";
}

function store(api: TestApi, value: string) {
  return api.call("POST", "/api/cache", { body: `{"key":"k","value":${value}}` });
}

/** Every way to change the entry `k`; PATCH once by counting, once by its TTL. */
const MUTATIONS: [string, string, string][] = [
  ["POST", "/api/cache", '{"key":"k","value":7}'],
  ["PUT", "/api/cache/k", "7"],
  ["PATCH", "/api/cache/k", '{"increment":1}'],
  ["PATCH", "/api/cache/k", '{"ttl":"1h"}'],
  ["DELETE", "/api/cache/k", ""],
];

describe.each(WAYS_TO_ANSWER)("If-None-Match on a read, where the engine answers %s,", (_, engine) => {
  test.each(["GET", "HEAD"])("makes %s answer 304 where the entry has not changed", async (method) => {
    using api = await startTestApi({ engine });
    await api.call("POST", "/api/cache", { body: '{"key":"k","value":1,"ttl":"10s"}' });
    for (const target of ["/api/cache/k", "/api/cache/k?raw"]) {
      const etag = await etagOf(api, target);
      for (const header of [etag, `W/${etag}`, `${FOREIGN}, ${etag}`, `${FOREIGN},W/${etag} , "x"`, "*", ` ${etag} `]) {
        const answer = await api.call(method, target, { headers: { "If-None-Match": header } });
        expect([header, answer.status, answer.body]).toEqual([header, 304, ""]);
        expect(answer.headers.get("etag")).toBe(etag);
        expect(answer.headers.get("cache-status")).toBe("ServCache; hit; ttl=10");
      }
    }
  });

  test("answers whole where no ETag of the list is the entry's", async () => {
    using api = await startTestApi({ engine });
    await store(api, "1");
    const raw = await etagOf(api, "/api/cache/k?raw");
    for (const header of [FOREIGN, raw, `${FOREIGN}, ${raw}`, "nonsense", '"'])
      expect((await api.call("GET", "/api/cache/k", { headers: { "If-None-Match": header } })).status).toBe(200);
  });
});

describe.each(WAYS_TO_ANSWER)("a condition of a mutation, where the engine answers %s,", (_, engine) => {
  test.each(MUTATIONS)("lets %s %s with %s through where it holds", async (method, target, body) => {
    using api = await startTestApi({ engine });
    const conditions: [string, (etag: string, raw: string) => string][] = [
      ["If-Match", (etag) => etag],
      ["If-Match", (_etag, raw) => raw],
      ["If-Match", (etag) => `${FOREIGN}, ${etag}`],
      ["If-Match", () => "*"],
      ["If-None-Match", () => FOREIGN],
    ];
    for (const [name, headerOf] of conditions) {
      await store(api, "1");
      const header = headerOf(await etagOf(api), await etagOf(api, "/api/cache/k?raw"));
      const answer = await api.call(method, target, { headers: { [name]: header }, body });
      expect([name, header, answer.status]).toEqual([name, header, 200]);
    }
  });

  test.each(MUTATIONS)("stops %s %s with %s where it fails, and nothing changes", async (method, target, body) => {
    using api = await startTestApi({ engine });
    await store(api, "1");
    const old = await etagOf(api);
    await store(api, "2");
    const etag = await etagOf(api);
    const raw = await etagOf(api, "/api/cache/k?raw");
    const conditions = [
      ["If-Match", old],
      ["If-Match", FOREIGN],
      ["If-Match", `W/${etag}`],
      ["If-None-Match", "*"],
      ["If-None-Match", etag],
      ["If-None-Match", raw],
      ["If-None-Match", `W/${etag}`],
      ["If-None-Match", `${FOREIGN}, ${etag}`],
    ] as const;
    for (const [name, header] of conditions) {
      const answer = await api.call(method, target, { headers: { [name]: header }, body });
      expectError(answer, 412, "ERR_PRECONDITION_FAILED");
    }
    expect(await etagOf(api)).toBe(etag);
  });

  test("If-None-Match: * stores where there is no entry, or an expired one", async () => {
    using api = await startTestApi({ engine });
    const headers = { "If-None-Match": "*" };
    expectSuccess(await api.call("PUT", "/api/cache/k?ttl=1s", { headers, body: "1" }));
    expect((await api.call("PUT", "/api/cache/k", { headers, body: "2" })).status).toBe(412);
    api.clock.nowMs += 1_000;
    expectSuccess(await api.call("PUT", "/api/cache/k", { headers, body: "3" }));
  });

  test("of a batch is refused: it is about one entry", async () => {
    using api = await startTestApi({ engine });
    const body = '{"operations":[{"op":"set","key":"k","value":1}]}';
    const answer = await api.call("POST", "/api/batch", { headers: { "If-None-Match": "*" }, body });
    expectError(answer, 400, "ERR_BAD_CONDITION");
    expect((await api.call("GET", "/api/cache/k")).status).toBe(404);
  });
});

describe.each(WAYS_TO_ANSWER)(
  "a stored entry from a clock that is ahead, where the engine answers %s,",
  (_, engine) => {
    async function withEntryAhead(): Promise<TestApi> {
      const api = await startTestApi({ engine });
      const source = Buffer.from("5");
      await api.engine.put({
        key: keyOf("k"),
        source,
        start: 0,
        end: source.length,
        attributes: { contentType: "application/json" },
        expiresAtMs: 0,
        stamp: { version: versionAt(api.clock.nowMs + 3_600_000), nodeId: 7 },
        condition: null,
      });
      return api;
    }

    test("wins over writes in silence", async () => {
      using api = await withEntryAhead();
      expectSuccess(await store(api, "1"));
      expectSuccess(await api.call("DELETE", "/api/cache/k"));
      expect((await api.call("PATCH", "/api/cache/k", { body: '{"ttl":"1s"}' })).body).toBe('{"key":"k","value":5}');
      expect((await api.call("GET", "/api/cache/k")).body).toBe('{"key":"k","value":5}');
    });

    test("lets nobody believe that a condition held", async () => {
      using api = await withEntryAhead();
      for (const [method, target, body] of MUTATIONS) {
        // A new expiry takes the place of nothing.
        if (body.includes("ttl")) continue;
        const answer = await api.call(method, target, { headers: { "If-Match": "*" }, body });
        expectError(answer, 412, "ERR_PRECONDITION_FAILED");
      }
    });

    test("lets nobody believe that something was counted", async () => {
      using api = await withEntryAhead();
      expectError(await api.call("PATCH", "/api/cache/k", { body: '{"increment":1}' }), 409, "ERR_CONFLICT");
    });
  },
);
