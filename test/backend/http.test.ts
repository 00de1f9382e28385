import { afterAll, beforeEach, describe, expect, test } from "bun:test";
import type { BackendRow } from "../../src/backend/backend.ts";
import { createBackend } from "../../src/backend/create-backend.ts";
import { MAX_VALUE_BYTES } from "../../src/model/entry.ts";
import type { Version } from "../../src/model/stamp.ts";
import { deleteRow, jsonRow, testBackend, textOf } from "../contract/backend-contract.ts";
import { backendSettings } from "../support/backend-settings.ts";
import { startHttpStore } from "../support/http-store.ts";

const IN_TIME = { timeoutMs: 60_000 };
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
    await backend.write([jsonRow("a/b?c#d ü", "1", 7)], { ...IN_TIME, traceContext: "00-1-2-01" });
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

describe("what an HTTP backend answers", () => {
  test("as a page is no value, unless that is allowed", async () => {
    const page = () => new Response("<h1>Log in</h1>", { headers: { "content-type": "text/html; charset=utf-8" } });
    expect(await loadWith(page)).toBe("ERR_BACKEND_ANSWER");
    store.answer = page;
    const backend = createBackend(backendSettings(store.url, { allowsHtml: true }));
    expect(textOf((await backend.load(["a"], IN_TIME))[0])).toBe("<h1>Log in</h1>");
    await backend.close();
  });

  test("compressed, though only identity is accepted, is not unpacked", async () => {
    const bomb = Bun.gzipSync(new Uint8Array(64 * 1024 * 1024));
    const headers = { "content-type": "application/octet-stream", "content-encoding": "gzip" };
    expect(await loadWith(() => new Response(bomb, { headers }))).toBe("ERR_BACKEND_ANSWER");
    expect(store.requests.at(-1)?.headers.get("accept-encoding")).toBe("identity");
  });

  test("at length to a write does not matter: the status says enough", async () => {
    expect(await writeWith(() => new Response("x".repeat(1024 * 1024)))).toBe("written");
    expect(await writeWith(() => new Response("x".repeat(1024 * 1024), { status: 422 }))).toBe("refused");
  });
});

describe("secrets of the URL", () => {
  const url = () => `${store.url.replace("http://", "http://ann:p%40ssw%C3%B6rd@")}?api_key=s3cr3t/%2B&v=1`;
  const SECRETS = ["s3cr3t", "p@sswörd", "p%40ssw%C3%B6rd", btoa("ann:p@ss").slice(0, 8)];

  async function messages(): Promise<string> {
    const backend = createBackend(backendSettings(url()));
    const [loaded] = await backend.load(["a"], IN_TIME);
    const [written] = await backend.write([jsonRow("a", "1", 1)], IN_TIME);
    await backend.close();
    return Bun.inspect([loaded, written], { depth: 10 });
  }

  test("are in no reason or error, though the service answers with all that it was asked", async () => {
    for (const status of [401, 422, 500]) {
      store.answer = async (request) =>
        new Response(`${request.url} ${decodeURIComponent(request.url)} ${request.headers.get("authorization")}`, {
          status,
        });
      const text = await messages();
      expect(text).toContain(`answered ${status}`);
      for (const secret of SECRETS) expect(text).not.toContain(secret);
    }
  });

  test("are in no error of a connection that fails", async () => {
    using closing = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data: (socket) => socket.terminate() } });
    const target = url().replace(/127\.0\.0\.1:\d+/, `127.0.0.1:${closing.port}`);
    const backend = createBackend(backendSettings(target));
    const text = Bun.inspect(await backend.load(["a"], IN_TIME), { depth: 10 });
    await backend.close();
    expect(text).toContain("the connection was closed before the answer was whole");
    for (const secret of SECRETS) expect(text).not.toContain(secret);
  });
});

test("each try of a write bears the same idempotency key, and each write another", async () => {
  store.answer = () => new Response("busy", { status: 503 });
  const backend = createBackend(backendSettings(store.url));
  for (const row of [
    jsonRow("a", "1", 5),
    jsonRow("a", "1", 5),
    jsonRow("a", "2", 6),
    jsonRow("b", "1", 5),
    deleteRow("a", 5),
  ]) {
    await backend.write([row], IN_TIME);
  }
  await backend.close();
  const keys = store.requests.map(({ headers }) => headers.get("idempotency-key"));
  expect(keys[0]).toMatch(/^"5-put-[\w-]{22}"$/);
  expect(keys[1]).toBe(keys[0] ?? "");
  expect(new Set(keys).size).toBe(4);
});

describe("writes that go together over HTTP", () => {
  const ROWS = [
    jsonRow("a/1", '{"n": 1.0}', 5),
    {
      kind: "put",
      key: "b",
      value: { bytes: Buffer.from([0xff, 0x00]), contentType: "image/png" },
      version: 6 as Version,
    } as const,
    deleteRow("c", 7),
  ];

  async function writeTogether(answer: (body: string, path: string) => Response, rows: readonly BackendRow[] = ROWS) {
    store.answer = async (request) => answer(await request.text(), new URL(request.url).pathname);
    const backend = createBackend(backendSettings(store.url, { batchPath: "/batch" }));
    const results = await backend.write(rows, IN_TIME);
    await backend.close();
    return results.map((result) => (result.kind === "retry" ? result.error.code : result.kind));
  }

  test("are one POST, with values as they are, and each has an outcome of its own", async () => {
    let sent = "";
    const outcomes = await writeTogether((body, path) => {
      sent = `${path} ${body}`;
      return Response.json({ results: [{ status: 200 }, { status: 409, version: 9 }, { status: 404 }] });
    });
    expect(outcomes).toEqual(["written", "superseded", "written"]);
    expect(store.requests.length).toBe(1);
    expect(sent).toBe(
      '/base/batch {"operations":[{"op":"put","key":"a/1","version":5,"value":{"n": 1.0}},' +
        '{"op":"put","key":"b","version":6,"content_type":"image/png","value_base64":"/wA="},' +
        '{"op":"delete","key":"c","version":7}]}',
    );
  });

  test("are tried one by one where the endpoint refuses them as a whole", async () => {
    const outcomes = await writeTogether((_, path) =>
      path === "/base/b"
        ? new Response("no pictures", { status: 415 })
        : new Response("", { status: path === "/base/batch" ? 413 : 200 }),
    );
    expect(outcomes).toEqual(["written", "refused", "written"]);
  });

  test.each([
    ["fails", () => new Response("", { status: 503 }), "ERR_BACKEND_UNAVAILABLE"],
    ["answers something else", () => Response.json({ ok: true }), "ERR_BACKEND_ANSWER"],
    ["answers for fewer", () => Response.json({ results: [{ status: 200 }] }), "ERR_BACKEND_ANSWER"],
    ["answers no JSON", () => new Response("thanks"), "ERR_BACKEND_ANSWER"],
  ] as const)("are all tried again where the endpoint %s", async (_, answer, code) => {
    expect(await writeTogether(answer)).toEqual([code, code, code]);
  });

  test("of one row alone are a plain call", async () => {
    await writeTogether(() => new Response("ok"), [jsonRow("a", "1", 1)]);
    expect(store.requests.map(({ method, path }) => `${method} ${path}`)).toEqual(["POST /base/a"]);
  });

  test("need an HTTP backend", () => {
    expect(() => createBackend(backendSettings("sqlite:x.db", { batchPath: "/batch" }))).toThrow(
      "SERV_CACHE_BACKEND_BATCH_PATH needs an HTTP backend",
    );
  });
});
