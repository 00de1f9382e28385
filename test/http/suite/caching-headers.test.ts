/** What answers tell caches between the client and the node, browsers, and clients that ask for an encoding. */
import { describe, expect, test } from "bun:test";
import zlib from "node:zlib";
import { ByteBudget } from "../../../src/runtime/byte-budget.ts";
import { expectError, expectSuccess, startTestApi, type TestApi, ttlIn, WAYS_TO_ANSWER } from "../../support/api.ts";

const TEXT = "ServCache ".repeat(1_000);
const ENCODERS = {
  gzip: (content: Buffer) => zlib.gzipSync(content),
  deflate: (content: Buffer) => zlib.deflateSync(content),
  br: (content: Buffer) => zlib.brotliCompressSync(content),
  zstd: (content: Buffer) => zlib.zstdCompressSync(content),
};
const CODINGS = {
  gzip: ENCODERS.gzip(Buffer.from(TEXT)),
  deflate: ENCODERS.deflate(Buffer.from(TEXT)),
  br: ENCODERS.br(Buffer.from(TEXT)),
  zstd: ENCODERS.zstd(Buffer.from(TEXT)),
};
const MIB = 1024 * 1024;

function put(api: TestApi, key: string, body: string | Buffer, headers: Record<string, string>) {
  return api.call("PUT", `/api/cache/${key}`, { headers, body });
}

function get(api: TestApi, key: string, headers: Record<string, string> = {}) {
  return api.call("GET", `/api/cache/${key}`, { headers });
}

describe.each(WAYS_TO_ANSWER)("where the engine answers %s", (_, engine) => {
  test("an entry may be kept, and not used unasked; what is left of it is in Cache-Status", async () => {
    using api = await startTestApi({ engine });
    await api.call("POST", "/api/cache", { body: '{"key":"k","value":1,"ttl":"42s"}' });
    await api.call("POST", "/api/cache", { body: '{"key":"for-ever","value":1}' });
    for (const [key, status] of [
      ["k", "ServCache; hit; ttl=42"],
      ["for-ever", "ServCache; hit"],
      ["k?raw", "ServCache; hit; ttl=42"],
    ] as const) {
      for (const method of ["GET", "HEAD"]) {
        const { headers } = await api.call(method, `/api/cache/${key}`);
        expect([headers.get("cache-control"), headers.get("cache-status")]).toEqual(["no-cache", status]);
        const etag = headers.get("etag") ?? "";
        const same = await get(api, key, { "If-None-Match": etag });
        expect([same.status, same.headers.get("cache-control")]).toEqual([304, "no-cache"]);
        expect(same.headers.get("cache-status")).toBe(status);
      }
    }
  });

  test("with max-age asked for, caches may serve an entry until it expires", async () => {
    using api = await startTestApi({ engine, tellsMaxAge: true });
    await api.call("POST", "/api/cache", { body: '{"key":"k","value":1,"ttl":"42s"}' });
    await api.call("POST", "/api/cache", { body: '{"key":"for-ever","value":1}' });
    for (const left of [42, 41, 0]) {
      const { headers } = await get(api, "k");
      expect(headers.get("cache-control")).toBe(`max-age=${left}`);
      expect(headers.get("cache-status")).toBe(`ServCache; hit; ttl=${left}`);
      api.clock.nowMs += left === 41 ? 40_999 : 1_000;
      if (left === 41) api.clock.nowMs -= 500;
    }
    expect((await get(api, "for-ever")).headers.get("cache-control")).toBe("no-cache");
  });

  test("a miss says so, and nobody may keep it", async () => {
    using api = await startTestApi({ engine });
    const miss = await get(api, "nobody");
    expectError(miss, 404, "ERR_NOT_FOUND");
    expect(miss.headers.get("cache-status")).toBe("ServCache; fwd=uri-miss");
    const head = await api.call("HEAD", "/api/cache/nobody");
    expect([head.headers.get("cache-control"), head.headers.get("cache-status")]).toEqual([
      "no-store",
      "ServCache; fwd=uri-miss",
    ]);
  });

  test("nobody may keep what is not an entry", async () => {
    using api = await startTestApi({ engine });
    const calls: [string, string, string?][] = [
      ["POST", "/api/cache", '{"key":"k","value":1}'],
      ["PUT", "/api/cache/k", "1"],
      ["PATCH", "/api/cache/k", '{"ttl":"1h"}'],
      ["PATCH", "/api/cache/n", '{"increment":1}'],
      ["POST", "/api/batch", '{"operations":[{"op":"get","key":"k"}]}'],
      ["DELETE", "/api/cache/k"],
      ["DELETE", "/api/cache?pattern=k*"],
      ["DELETE", "/api/cache"],
      ...["/api/keys", "/api/stats", "/api/version", "/api/outbox/dead"].map((path): [string, string] => ["GET", path]),
      ...["/health", "/healthz", "/readyz", "/metrics"].map((path): [string, string] => ["GET", path]),
      ["HEAD", "/metrics"],
      ["OPTIONS", "/api/cache"],
      ["GET", "/unknown"],
      ["TRACE", "/api/keys"],
      ["GET", "/api/cache/%ff"],
    ];
    for (const [method, target, body = ""] of calls) {
      const { headers } = await api.call(method, target, { body });
      expect([target, headers.get("cache-control")]).toEqual([target, "no-store"]);
      expect(headers.has("cache-status")).toBe(false);
    }
  });

  test.each(Object.entries(CODINGS))(
    "what was put as %s comes back so, or decoded for who can't",
    async (coding, bytes) => {
      using api = await startTestApi({ engine });
      expectSuccess(await put(api, "k?ttl=1m", bytes, { "Content-Type": "text/plain", "Content-Encoding": coding }));
      const encoded = await get(api, "k", { "Accept-Encoding": `identity;q=0.1, ${coding}` });
      expect([encoded.status, encoded.bytes.equals(bytes)]).toEqual([200, true]);
      expect(encoded.headers.get("content-encoding")).toBe(coding);
      const decoded = await get(api, "k");
      expect([decoded.status, decoded.body]).toEqual([200, TEXT]);
      expect(decoded.headers.has("content-encoding")).toBe(false);
      for (const answer of [encoded, decoded]) {
        expect(answer.headers.get("content-type")).toBe("text/plain");
        expect(answer.headers.get("vary")).toBe("Accept-Encoding");
        expect(ttlIn(answer)).toBe(60);
      }
      expect(encoded.headers.get("etag")).not.toBe(decoded.headers.get("etag"));
      for (const accepted of [`${coding};q=0`, `x${coding}`, "", "identity", `*, ${coding};q=0.000`, "*;q=0"]) {
        expect((await get(api, "k", { "Accept-Encoding": accepted })).body).toBe(TEXT);
      }
      for (const accepted of ["*", `identity;q=0, ${coding} ;q=0.5`, coding.toUpperCase()]) {
        const asked = await get(api, "k", { "Accept-Encoding": accepted });
        expect(asked.headers.get("content-encoding") ?? "").toBe(coding);
      }
    },
  );

  test("each form of an encoded value has its conditions; HEAD tells no length that it doesn't know", async () => {
    using api = await startTestApi({ engine });
    await put(api, "k", CODINGS.gzip, { "Content-Type": "text/plain", "Content-Encoding": "gzip" });
    const gzip = { "Accept-Encoding": "gzip" };
    const etags = [await get(api, "k", gzip), await get(api, "k")].map(({ headers }) => headers.get("etag") ?? "");
    const [encoded = "", decoded = ""] = etags;
    expect((await get(api, "k", { ...gzip, "If-None-Match": encoded })).status).toBe(304);
    expect((await get(api, "k", { ...gzip, "If-None-Match": decoded })).status).toBe(200);
    expect((await get(api, "k", { "If-None-Match": decoded })).status).toBe(304);
    expect((await get(api, "k", { "If-None-Match": encoded })).body).toBe(TEXT);
    const heads = [
      await api.call("HEAD", "/api/cache/k", { headers: gzip }),
      await api.call("HEAD", "/api/cache/k"),
    ].map(({ headers }) => [headers.get("etag"), headers.get("content-length"), headers.get("content-encoding")]);
    expect(heads).toEqual([
      [encoded, String(CODINGS.gzip.length), "gzip"],
      [decoded, undefined, undefined],
    ]);
    const changed = await put(api, "k", "new", { "If-Match": decoded, "Content-Type": "text/plain" });
    expectSuccess(changed);
    expect((await get(api, "k", gzip)).body).toBe("new");
  });

  test("JSON that was put encoded is stored as JSON", async () => {
    using api = await startTestApi({ engine });
    const headers = { "Content-Type": "application/json", "Content-Encoding": "gzip" };
    expectSuccess(await put(api, "k?ttl=1m", zlib.gzipSync("[1.0]"), headers));
    const answer = await get(api, "k", { "Accept-Encoding": "gzip" });
    expect([answer.body, answer.headers.has("content-encoding")]).toEqual(['{"key":"k","value":[1.0]}', false]);
    expect(ttlIn(answer)).toBe(60);
    expectError(await put(api, "k", zlib.gzipSync("[1.0"), headers), 400, "ERR_INVALID_JSON");
    expectError(await put(api, "k", "[1.0]", headers), 400, "ERR_BAD_ENCODING");
    expectError(await put(api, "k", zlib.gzipSync(Buffer.alloc(17 * MIB, "7")), headers), 400, "ERR_BAD_ENCODING");
    const guarded = { ...headers, "If-None-Match": "*" };
    expectError(await put(api, "k", zlib.gzipSync("2"), guarded), 412, "ERR_PRECONDITION_FAILED");
    expect((await get(api, "k?raw")).body).toBe("[1.0]");
  });

  test("what decodes to more than a value may have, or to nothing, is only for those who decode it", async () => {
    using api = await startTestApi({ engine });
    const type = { "Content-Type": "text/plain", "Content-Encoding": "gzip" };
    const bodies = {
      bomb: zlib.gzipSync(Buffer.alloc(17 * MIB)),
      broken: Buffer.from("no gzip"),
      empty: Buffer.alloc(0),
    };
    for (const [key, body] of Object.entries(bodies)) {
      expectSuccess(await put(api, key, body, type));
      expectError(await get(api, key), 406, "ERR_NOT_ACCEPTABLE");
      const encoded = await get(api, key, { "Accept-Encoding": "gzip" });
      expect([encoded.status, encoded.bytes.equals(body)]).toEqual([200, true]);
    }
    const full = Buffer.alloc(16 * MIB, "7");
    expectSuccess(await put(api, "full", zlib.gzipSync(full), type));
    expect((await get(api, "full")).bytes.equals(full)).toBe(true);
  });

  test.each(["gzip", "deflate", "br", "zstd"] as const)(
    "%s that is cut short, goes on behind its end, or is a bomb, is noticed",
    async (coding) => {
      using api = await startTestApi({ engine });
      const json = { "Content-Type": "application/json", "Content-Encoding": coding };
      const text = { "Content-Type": "text/plain", "Content-Encoding": coding };
      const whole = ENCODERS[coding](Buffer.from(JSON.stringify(TEXT)));
      const bomb = ENCODERS[coding](Buffer.alloc(17 * MIB, "7"));
      const halves = [1, 5, whole.length >> 1].map((length) => whole.subarray(0, whole.length - length));
      const followed = ["junk", "\0\0\0\0"].map((junk) => Buffer.concat([whole, Buffer.from(junk)]));
      for (const body of [...halves, ...followed, bomb, Buffer.alloc(0)]) {
        expectError(await put(api, "json", body, json), 400, "ERR_BAD_ENCODING");
        expectSuccess(await put(api, "text", body, text));
        expectError(await get(api, "text"), 406, "ERR_NOT_ACCEPTABLE");
      }
      expectSuccess(await put(api, "json", whole, json));
      expect((await get(api, "json?raw")).body).toBe(JSON.stringify(TEXT));
    },
  );

  test("many that decode at once all get their answer", async () => {
    using api = await startTestApi({ engine });
    await put(api, "k", CODINGS.br, { "Content-Type": "text/plain", "Content-Encoding": "br" });
    const asked = Array.from({ length: 50 }, () =>
      fetch(`http://127.0.0.1:${api.port}/api/cache/k`, { headers: { "Accept-Encoding": "identity" } }),
    );
    const bodies = await Promise.all((await Promise.all(asked)).map((answer) => answer.text()));
    expect(new Set(bodies)).toEqual(new Set([TEXT]));
  });

  test("values that wait to be decoded have room in the budget, or are not read", async () => {
    const budget = ByteBudget.create(8 * MIB);
    using api = await startTestApi({ engine, budget });
    // Three of them have room.
    await put(api, "k", zlib.gzipSync(Buffer.alloc(2.2 * MIB), { level: 0 }), {
      ...{ "Content-Type": "text/plain", "Content-Encoding": "gzip" },
    });
    for (const _ of [1, 2]) {
      const asked = Array.from({ length: 20 }, () =>
        fetch(`http://127.0.0.1:${api.port}/api/cache/k`, { headers: { "Accept-Encoding": "identity" } }),
      );
      const answers = await Promise.all(asked);
      const codes = answers.map(({ status, headers }) => `${status} ${headers.get("retry-after")}`);
      expect(new Set(codes)).toEqual(new Set(["200 null", "503 1"]));
      await Promise.all(answers.map((answer) => answer.arrayBuffer()));
      expect(budget.usedBytes).toBe(0);
    }
    const known = await get(api, "k", { "Accept-Encoding": "gzip" });
    expect([known.status, known.headers.get("content-encoding"), budget.usedBytes]).toEqual([200, "gzip", 0]);
  });

  test("a batch gives an encoded value as it is, and names the coding", async () => {
    using api = await startTestApi({ engine });
    await put(api, "k", CODINGS.gzip, { "Content-Type": "text/html", "Content-Encoding": "x-GZIP" });
    const { body } = await api.call("POST", "/api/batch", { body: '{"operations":[{"op":"get","key":"k"}]}' });
    expect(JSON.parse(body).results).toEqual([
      {
        ...{ status: 200, key: "k", content_type: "text/html", content_encoding: "gzip" },
        base64: CODINGS.gzip.toString("base64"),
      },
    ]);
  });

  test.each(
    ["text/html", "Text/HTML; charset=utf-8", "image/svg+xml", "application/xhtml+xml", "text/xml"].concat([
      ...["application/javascript", "text/ecmascript", "application/rss+xml", "text/xsl", "multipart/x-mixed-replace"],
    ]),
  )("a browser runs nothing of %s", async (type) => {
    using api = await startTestApi({ engine });
    await put(api, "k", "<script>alert(1)</script>", { "Content-Type": type });
    for (const method of ["GET", "HEAD"]) {
      const { headers } = await api.call(method, "/api/cache/k");
      expect(headers.get("content-type")).toBe(type);
      expect(headers.get("content-security-policy")).toBe("sandbox");
      expect(headers.get("x-content-type-options")).toBe("nosniff");
    }
  });

  test("what a browser doesn't run is served without a sandbox", async () => {
    using api = await startTestApi({ engine });
    for (const type of ["text/plain", "image/png", "application/pdf", "application/octet-stream"]) {
      await put(api, "k", "x", { "Content-Type": type });
      const { headers } = await get(api, "k");
      expect([headers.has("content-security-policy"), headers.get("x-content-type-options")]).toEqual([
        false,
        "nosniff",
      ]);
    }
  });

  test("If-Match guards reads as it guards writes", async () => {
    using api = await startTestApi({ engine });
    await api.call("POST", "/api/cache", { body: '{"key":"k","value":1}' });
    const etag = (await get(api, "k")).headers.get("etag") ?? "";
    const raw = (await get(api, "k?raw")).headers.get("etag") ?? "";
    for (const [target, header, status] of [
      ["k", etag, 200],
      ["k", `"a,b", ${etag}`, 200],
      ["k", "*", 200],
      ["k?raw", raw, 200],
      ["k", `W/${etag}`, 412],
      ["k", raw, 412],
      ["k?raw", etag, 412],
      ["k", '"a"', 412],
      ["k", "", 412],
      ["nobody", "*", 404],
      ["nobody", etag, 404],
    ] as const) {
      const headers = { "If-Match": header };
      const answer = await get(api, target, headers);
      expect([target, header, answer.status]).toEqual([target, header, status]);
      if (status === 412) expectError(answer, 412, "ERR_PRECONDITION_FAILED");
      const head = await api.call("HEAD", `/api/cache/${target}`, { headers });
      expect([head.status, head.body]).toEqual([status, ""]);
    }
    // RFC 9110, section 13.2.2: If-Match comes first.
    expect((await get(api, "k", { "If-Match": etag, "If-None-Match": etag })).status).toBe(304);
    expect((await get(api, "k", { "If-Match": '"a"', "If-None-Match": etag })).status).toBe(412);
  });

  test("ETags may hold commas", async () => {
    using api = await startTestApi({ engine });
    await api.call("POST", "/api/cache", { body: '{"key":"k","value":1}' });
    const etag = (await get(api, "k")).headers.get("etag") ?? "";
    // Taken apart at its commas, this would name the ETag.
    const other = `"a,${etag.slice(1, -1)},b"`;
    expect((await get(api, "k", { "If-None-Match": other })).status).toBe(200);
    expect((await get(api, "k", { "If-None-Match": `"a,b", W/"c,",${etag}` })).status).toBe(304);
    const body = '{"key":"k","value":2}';
    const refused = await api.call("POST", "/api/cache", { headers: { "If-Match": other }, body });
    expectError(refused, 412, "ERR_PRECONDITION_FAILED");
    const taken = await api.call("POST", "/api/cache", { headers: { "If-Match": `"a,b", ${etag}` }, body });
    expectSuccess(taken);
  });
});

test("a PUT says what is wrong with its encoding, range or type", async () => {
  using api = await startTestApi();
  for (const coding of ["foo", "gzip, br", "compress", "aws-chunked"]) {
    const refused = await put(api, "k", "x", { "Content-Encoding": coding });
    expectError(refused, 415, "ERR_UNKNOWN_CODING");
    expect(refused.headers.get("accept-encoding")).toBe("gzip, deflate, br, zstd");
  }
  expectSuccess(await put(api, "k", "x", { "Content-Encoding": "Identity" }));
  expectError(await put(api, "k", "y", { "Content-Range": "bytes 0-0/2" }), 400, "ERR_CONTENT_RANGE");
  for (const type of ["text/plain, text/html", 'a/b;c="d", e/f', "text/plain; Content-Encoding = gzip"]) {
    expectError(await put(api, "k", "y", { "Content-Type": type }), 400, "ERR_BAD_CONTENT_TYPE");
  }
  expect((await get(api, "k")).body).toBe("x");
  for (const type of ['a/b;c="d,e"', 'a/b;c="d\\",e"']) {
    expectSuccess(await put(api, "k", "y", { "Content-Type": type }));
    expect((await get(api, "k")).headers.get("content-type")).toBe(type);
  }
  const longest = `a/${"b".repeat(253)}`;
  expectSuccess(await put(api, "k", "y", { "Content-Type": longest }));
  const encoded = await put(api, "k", "y", { "Content-Type": longest, "Content-Encoding": "gzip" });
  expectError(encoded, 400, "ERR_BAD_CONTENT_TYPE");
});

test("every call refuses a parameter that it doesn't know, and names those that it does", async () => {
  using api = await startTestApi();
  await api.call("POST", "/api/cache", { body: '{"key":"k","value":1}' });
  const calls: readonly (readonly [string, string, string])[] = [
    ["GET", "/api/cache/k", "raw, and nothing else"],
    ["HEAD", "/api/cache/k", ""],
    ["PUT", "/api/cache/k", "ttl, replicated, and nothing else"],
    ["PATCH", "/api/cache/k", "replicated, and nothing else"],
    ["DELETE", "/api/cache/k", "replicated, and nothing else"],
    ["POST", "/api/cache", "replicated, and nothing else"],
    ["DELETE", "/api/cache", "pattern, tag, replicated, and nothing else"],
    ["POST", "/api/batch", "replicated, and nothing else"],
    ["POST", "/api/replication", "none"],
    ["POST", "/api/cache/gossip-invalidate", "key, replicated, and nothing else"],
    ["GET", "/api/keys", "pattern, cursor, limit, and nothing else"],
    ["GET", "/api/outbox/dead", "cursor, limit, and nothing else"],
    ["POST", "/api/outbox/dead", "id, all, and nothing else"],
    ["DELETE", "/api/outbox/dead", "id, all, and nothing else"],
    ["GET", "/api/stats", "none"],
    ["GET", "/api/version", "none"],
    ["GET", "/health", "none"],
    ["GET", "/healthz", "none"],
    ["GET", "/readyz", "none"],
    ["GET", "/metrics", "none"],
  ];
  for (const [method, path, known] of calls) {
    for (const query of ["TTL=5m", "%54TL", "raw&TTL=&ttl=1s"]) {
      const refused = await api.call(method, `${path}?${query}`, { body: '{"key":"k","value":2}' });
      expect([method, path, refused.status]).toEqual([method, path, 400]);
      if (method === "HEAD" || query.startsWith("raw")) continue;
      expect(expectError(refused, 400, "ERR_BAD_QUERY")).toBe(`the query has "TTL": this call accepts ${known}`);
    }
  }
  expect((await api.call("GET", "/api/cache/k?raw")).body).toBe("1");
});

test("errors come as problems for who asks for them, also where the connection itself refuses", async () => {
  using api = await startTestApi();
  const headers = { Accept: "application/problem+json", Expect: "a" };
  for (const [method, given, status, code, title] of [
    ["GET", { Accept: headers.Accept }, 404, "ERR_NOT_FOUND", "Not Found"],
    ["GET", headers, 417, "ERR_EXPECTATION_FAILED", "Expectation Failed"],
  ] as const) {
    const answer = await api.call(method, "/api/cache/nobody", { headers: given });
    expect(answer.headers.get("cache-control")).toBe("no-store");
    if (status === 417) {
      // Its head is not read to the end.
      expect(JSON.parse(answer.body)).toMatchObject({ code });
      continue;
    }
    expect(answer.headers.get("content-type")).toBe("application/problem+json");
    const { error, detail, trace_id, ...rest } = JSON.parse(answer.body);
    expect(rest).toEqual({ type: "about:blank", title, status, code });
    expect(detail).toBe(error);
    expect(trace_id).toMatch(/^[0-9a-f]{32}$/);
  }
});

test("/metrics has few buckets where few are wanted", async () => {
  using full = await startTestApi();
  using few = await startTestApi({ metricsBuckets: "few" });
  const lines = [];
  for (const api of [full, few]) {
    await api.call("GET", "/healthz");
    const { body } = await api.call("GET", "/metrics");
    lines.push(body.match(/^http_server_request_duration_seconds_bucket\{operation="other",result="ok"/gm)?.length);
  }
  expect(lines).toEqual([386, 26]);
});

test("/metrics is compressed for who takes gzip", async () => {
  using api = await startTestApi();
  // There are histograms from the first request on.
  await api.call("GET", "/healthz");
  const plain = await api.call("GET", "/metrics", { headers: { "Accept-Encoding": "br" } });
  const zipped = await api.call("GET", "/metrics", { headers: { "Accept-Encoding": "gzip" } });
  expect([plain.headers.has("content-encoding"), zipped.headers.get("content-encoding")]).toEqual([false, "gzip"]);
  for (const { headers } of [plain, zipped]) {
    expect([headers.get("vary"), headers.get("cache-control")]).toEqual(["Accept-Encoding", "no-store"]);
    expect(headers.get("content-type")).toStartWith("text/plain; version=0.0.4");
  }
  const text = zlib.gunzipSync(zipped.bytes).toString();
  expect(zipped.bytes.length * 4).toBeLessThan(text.length);
  expect(text.split("\n").filter((line) => line.startsWith("# TYPE"))).toEqual(
    plain.body.split("\n").filter((line) => line.startsWith("# TYPE")),
  );
  const head = await api.call("HEAD", "/metrics", { headers: { "Accept-Encoding": "gzip" } });
  expect([head.status, head.headers.get("content-encoding")]).toEqual([200, "gzip"]);
});
