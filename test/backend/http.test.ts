import { afterAll, beforeEach, describe, expect, test } from "bun:test";
import { createBackend } from "../../src/backend/create-backend.ts";
import { MAX_VALUE_BYTES } from "../../src/engine/engine.ts";
import { deleteRow, jsonRow, testBackend, textOf } from "../contract/backend-contract.ts";
import { backendSettings } from "../support/backend-settings.ts";
import { startHttpStore } from "../support/http-store.ts";

const IN_TIME = { timeoutMs: 5_000 };
const store = startHttpStore();
afterAll(() => store[Symbol.dispose]());
beforeEach(() => {
  store.answer = null;
  store.entries.clear();
  store.requests.length = 0;
});

testBackend({
  name: "HTTP",
  create: async () => createBackend(backendSettings(store.url)),
  refusedRow: jsonRow("poison", "1", 1),
  comparesVersions: true,
});

async function loadWith(answer: () => Response | Promise<Response>) {
  store.answer = answer;
  const backend = createBackend(backendSettings(store.url));
  const [result] = await backend.load(["a"], { timeoutMs: 300 });
  await backend.close();
  return result?.kind === "failed" ? result.error.code : textOf(result);
}

async function writeWith(answer: () => Response, row = jsonRow("a", "1", 5)) {
  store.answer = answer;
  const backend = createBackend(backendSettings(store.url));
  const [result] = await backend.write([row], IN_TIME);
  await backend.close();
  return result?.kind === "retry" ? result.error.code : result?.kind;
}

describe("loads over HTTP", () => {
  test("the key is one percent-encoded part of the path, with the version and the trace beside it", async () => {
    const backend = createBackend(backendSettings(`${store.url.replace("http://", "http://ann:p%40ss@")}/?token=x`));
    await backend.write([jsonRow("a/b?c#d ü", "1", 7)], { ...IN_TIME, traceparent: "00-1-2-01" });
    await backend.close();
    const sent = store.requests[0];
    expect(sent?.path).toBe("/base/a%2Fb%3Fc%23d%20%C3%BC?token=x");
    expect(sent?.headers.get("x-servcache-version")).toBe("7");
    expect(sent?.headers.get("traceparent")).toBe("00-1-2-01");
    expect(sent?.headers.get("authorization")).toBe(`Basic ${btoa("ann:p@ss")}`);
  });

  test("invalid JSON is an error, not a value", async () => {
    expect(await loadWith(() => new Response('{"a":', { headers: { "content-type": "application/json" } }))).toBe(
      "ERR_BACKEND_ANSWER",
    );
    expect(
      await loadWith(
        () => new Response(new Uint8Array([0x22, 0xff, 0x22]), { headers: { "content-type": "application/json" } }),
      ),
    ).toBe("ERR_BACKEND_ANSWER");
  });

  test("JSON that is said to be text is the bare value", async () => {
    expect(await loadWith(() => new Response('{"a": 1.0}'))).toBe('{"a": 1.0}');
  });

  test("an answer over the largest value is an error", async () => {
    expect(await loadWith(() => new Response(`"${"x".repeat(MAX_VALUE_BYTES)}"`))).toBe("ERR_BACKEND_ANSWER");
  });

  for (const status of [500, 502, 503, 429, 408]) {
    test(`${status} is a failure, not an absence`, async () => {
      expect(await loadWith(() => new Response("x", { status }))).toBe("ERR_BACKEND_UNAVAILABLE");
    });
  }

  for (const status of [401, 302, 204]) {
    test(`${status} is an answer that can't be understood`, async () => {
      const headers = { location: "/elsewhere" };
      expect(await loadWith(() => new Response(null, { status, headers }))).toBe("ERR_BACKEND_ANSWER");
    });
  }

  test("no answer in time is a timeout", async () => {
    expect(await loadWith(() => new Promise<Response>(() => {}))).toBe("ERR_BACKEND_TIMEOUT");
  });

  test("keys that a URL can't hold are refused and never asked for", async () => {
    const backend = createBackend(backendSettings(store.url));
    const results = await backend.load([".", ".."], IN_TIME);
    expect(results.map((result) => (result.kind === "failed" ? result.error.code : result.kind))).toEqual([
      "ERR_BACKEND_REFUSED",
      "ERR_BACKEND_REFUSED",
    ]);
    expect((await backend.write([jsonRow("..", "1", 1)], IN_TIME))[0]?.kind).toBe("refused");
    expect(store.requests.length).toBe(0);
    await backend.close();
  });

  test("a backend that is closed ends what is under way", async () => {
    store.answer = () => new Promise<Response>(() => {});
    const backend = createBackend(backendSettings(store.url));
    const loading = backend.load(["a"], IN_TIME);
    await backend.close();
    expect((await loading)[0]?.kind).toBe("failed");
  });
});

describe("writes over HTTP", () => {
  for (const status of [400, 403, 404, 413, 422]) {
    test(`${status} refuses the row for good`, async () => {
      expect(await writeWith(() => new Response("why", { status }))).toBe("refused");
    });
  }

  for (const status of [408, 425, 429, 500, 503]) {
    test(`${status} makes the row try again`, async () => {
      expect(await writeWith(() => new Response("why", { status }))).toBe("ERR_BACKEND_UNAVAILABLE");
    });
  }

  test("409 is a refusal, unless the newer version stands beside it", async () => {
    const conflict = (version: string) => () =>
      new Response("", { status: 409, headers: { "x-servcache-version": version } });
    expect(await writeWith(() => new Response("", { status: 409 }))).toBe("refused");
    expect(await writeWith(conflict("4"))).toBe("refused");
    expect(await writeWith(conflict("6"))).toBe("superseded");
  });

  test("a delete of what is not there is done", async () => {
    expect(await writeWith(() => new Response("", { status: 404 }), deleteRow("a", 1))).toBe("written");
  });
});
