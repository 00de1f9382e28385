import { afterEach, describe, expect, test } from "bun:test";
import { OtlpReceiver } from "../support/otlp/receiver.ts";
import { endServed, type ServedNode, serve } from "../support/serve.ts";
import { tempFolder } from "../support/temp-folder.ts";
import { until } from "../support/until.ts";

afterEach(endServed);

const TRACE_ID = "0af7651916cd43dd8448eb211c80319c";
const PARENT_ID = "b7ad6b7169203331";
const SAMPLED = `00-${TRACE_ID}-${PARENT_ID}-01`;
const NOT_SAMPLED = `00-${TRACE_ID}-${PARENT_ID}-00`;
const SERVER = 2;
const CLIENT = 3;

function start(receiver: OtlpReceiver, env: Record<string, string> = {}): Promise<ServedNode> {
  return serve(["--addr=127.0.0.1:0", "--entry-memory=64MiB"], {
    OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url,
    OTEL_BSP_SCHEDULE_DELAY: "20",
    SERV_CACHE_WORKERS: "1",
    ...env,
  });
}

function call(node: ServedNode, method: string, path: string, headers: Record<string, string> = {}, body?: string) {
  return fetch(`http://127.0.0.1:${node.port}${path}`, { method, headers, ...(body === undefined ? {} : { body }) });
}

async function metric(node: ServedNode, sample: string): Promise<number> {
  const text = await (await call(node, "GET", "/metrics")).text();
  const line = text.split("\n").find((one) => one.startsWith(`${sample} `));
  return Number(line?.slice(sample.length));
}

describe.each([
  ["1", "http/protobuf", "application/x-protobuf"],
  ["2", "http/json", "application/json"],
])("a node of %s threads that exports %s", (workers, protocol, contentType) => {
  test("makes a span of a request and one of the cache, within the trace that it came with", async () => {
    await using receiver = await OtlpReceiver.start();
    const node = await start(receiver, {
      SERV_CACHE_WORKERS: workers,
      OTEL_EXPORTER_OTLP_PROTOCOL: protocol,
      OTEL_EXPORTER_OTLP_HEADERS: "authorization=secret",
      OTEL_SERVICE_NAME: "sessions",
      OTEL_RESOURCE_ATTRIBUTES: "deployment.environment.name=test",
    });
    await call(node, "PUT", "/api/cache/user:1", { traceparent: NOT_SAMPLED }, "hello");
    await call(node, "GET", "/api/cache/user:1", { traceparent: SAMPLED, "user-agent": "tests" });
    const [server, cache] = await receiver.spansNamed("GET /api/cache/{key}", "cache.get");
    expect(server).toMatchObject({ traceId: TRACE_ID, parentSpanId: PARENT_ID, kind: SERVER, statusCode: 0 });
    expect(server?.attributes).toEqual({
      "http.request.method": "GET",
      "http.route": "/api/cache/{key}",
      "http.response.status_code": 200,
      "url.path": "/api/cache/{key}",
      "url.scheme": "http",
      "network.protocol.name": "http",
      "user_agent.original": "tests",
    });
    expect(cache).toMatchObject({ traceId: TRACE_ID, parentSpanId: server?.spanId, kind: 1 });
    expect(cache?.attributes).toEqual({
      "cache.engine": "memory",
      "cache.hit": true,
      "cache.key": new Bun.CryptoHasher("sha256").update("user:1").digest("hex").slice(0, 16),
      "cache.namespace": "user",
      "cache.keys": 1,
      "cache.value.size": 5,
    });
    expect(server?.resource).toMatchObject({ "service.name": "sessions", "deployment.environment.name": "test" });
    expect(Number(server?.durationNs)).toBeGreaterThan(Number(cache?.durationNs));
    expect([...receiver.contentTypes]).toEqual([contentType]);
    expect(receiver.headers[0]?.authorization).toBe("secret");
    expect(receiver.spans).toHaveLength(2);
  });
});

describe("traces", () => {
  test("name keys as they are, or not at all, where that is asked for", async () => {
    await using receiver = await OtlpReceiver.start();
    for (const [keys, name] of [
      ["on", "a b"],
      ["off", undefined],
    ] as const) {
      const node = await start(receiver, { SERV_CACHE_TELEMETRY_KEYS: keys });
      await call(node, "GET", "/api/cache/a%20b");
      await receiver.spansNamed("cache.get");
      expect(receiver.spanNamed("cache.get").attributes["cache.key"]).toBe(name);
      receiver.spans.length = 0;
    }
  });

  test("begin here where the request brings none, and errors tell their id", async () => {
    await using receiver = await OtlpReceiver.start();
    const node = await start(receiver);
    const answer: { trace_id: string } = JSON.parse(await (await call(node, "GET", "/api/cache/absent")).text());
    const [server, cache] = await receiver.spansNamed("GET /api/cache/{key}", "cache.get");
    expect(server).toMatchObject({ traceId: answer.trace_id, parentSpanId: null });
    expect(cache?.attributes["cache.hit"]).toBe(false);
  });

  test.each([
    ["parentbased_always_off", {}, 0],
    ["parentbased_always_off", { traceparent: SAMPLED }, 4],
    ["parentbased_always_on", { traceparent: NOT_SAMPLED }, 0],
    ["always_on", { traceparent: NOT_SAMPLED }, 4],
    ["always_off", { traceparent: SAMPLED }, 0],
  ])("are sampled as %s says of %p", async (sampler, headers, spans) => {
    await using receiver = await OtlpReceiver.start();
    const node = await start(receiver, { OTEL_TRACES_SAMPLER: sampler });
    for (let number = 0; number < 2; number++) await call(node, "GET", "/api/cache/k", headers);
    node.signal("SIGTERM");
    await node.finished();
    expect(receiver.spans).toHaveLength(spans);
  });

  test("are sent before the node ends", async () => {
    await using receiver = await OtlpReceiver.start();
    const node = await start(receiver, { OTEL_BSP_SCHEDULE_DELAY: "3600000", SERV_CACHE_WORKERS: "2" });
    await call(node, "GET", "/api/cache/k");
    expect(receiver.spans).toEqual([]);
    node.signal("SIGTERM");
    await node.finished();
    expect(receiver.spans.map(({ name }) => name)).toEqual(["cache.get", "GET /api/cache/{key}"]);
  });

  test("of a batch tell how many keys it was for", async () => {
    await using receiver = await OtlpReceiver.start();
    const node = await start(receiver);
    const operations = [1, 2, 3].map((number) => ({ op: "get", key: `k${number}` }));
    await call(node, "POST", "/api/batch", {}, JSON.stringify({ operations }));
    const [batch] = await receiver.spansNamed("cache.batch");
    expect(batch?.attributes).toEqual({ "cache.engine": "memory", "cache.keys": 3 });
  });

  test("of probes are made only where they are asked for", async () => {
    await using receiver = await OtlpReceiver.start();
    const node = await start(receiver);
    await call(node, "GET", "/healthz");
    await call(node, "GET", "/readyz", { traceparent: SAMPLED });
    await receiver.spansNamed("GET /readyz");
    expect(receiver.spans.some(({ name }) => name === "GET /healthz")).toBe(false);
  });

  test("that find no room are counted, and cost no memory", async () => {
    await using receiver = await OtlpReceiver.start();
    receiver.status = null;
    const node = await start(receiver, { OTEL_BSP_MAX_QUEUE_SIZE: "20", OTEL_EXPORTER_OTLP_TIMEOUT: "60000" });
    for (let number = 0; number < 100; number++) await call(node, "GET", "/api/cache/k");
    const dropped = await metric(node, 'servcache_spans_total{outcome="dropped"}');
    expect(dropped).toBeWithin(100, 200);
    expect(await metric(node, 'servcache_spans_total{outcome="exported"}')).toBe(0);
  });

  test("that could not be sent are counted, and said in the log", async () => {
    await using receiver = await OtlpReceiver.start();
    receiver.status = 400;
    const node = await start(receiver);
    await call(node, "GET", "/api/cache/k");
    await until(
      "the failure is counted",
      async () => (await metric(node, 'servcache_spans_total{outcome="failed"}')) >= 2,
    );
    node.signal("SIGTERM");
    expect((await node.finished()).stderr).toContain("spans could not be exported");
  });

  test("are off without an endpoint", async () => {
    const node = await serve(["--addr=127.0.0.1:0", "--entry-memory=64MiB"]);
    await call(node, "GET", "/api/cache/k", { traceparent: SAMPLED });
    expect(await metric(node, 'servcache_spans_total{outcome="dropped"}')).toBe(0);
    const openMetrics = await call(node, "GET", "/metrics", { accept: "application/openmetrics-text" });
    expect(await openMetrics.text()).not.toContain("trace_id");
  });
});

describe("a node with a backend behind HTTP", () => {
  test("passes the context on to it: a load is a part of the request's trace", async () => {
    await using receiver = await OtlpReceiver.start();
    const asked: Record<string, string | null>[] = [];
    using backend = Bun.serve({
      hostname: "127.0.0.1",
      port: 0,
      fetch: ({ headers }) => {
        asked.push(
          Object.fromEntries(["traceparent", "tracestate", "baggage"].map((name) => [name, headers.get(name)])),
        );
        return Response.json("from the backend");
      },
    });
    using folder = tempFolder();
    const node = await start(receiver, {
      SERV_CACHE_BACKEND_DB: `http://127.0.0.1:${backend.port}/items`,
      SERV_CACHE_DATA_DIR: folder.path,
      SERV_CACHE_WORKERS: "2",
    });
    const headers = { traceparent: SAMPLED, tracestate: "vendor=1", baggage: "tenant=7" };
    expect((await call(node, "GET", "/api/cache/k", headers)).status).toBe(200);
    const [server, cache, load] = await receiver.spansNamed("GET /api/cache/{key}", "cache.get", "GET");
    expect([server?.parentSpanId, cache?.parentSpanId, load?.parentSpanId]).toEqual([
      PARENT_ID,
      server?.spanId ?? "",
      cache?.spanId ?? "",
    ]);
    expect(load).toMatchObject({ kind: CLIENT, traceId: TRACE_ID, traceState: "vendor=1" });
    expect(load?.attributes).toEqual({
      "http.request.method": "GET",
      "server.address": "127.0.0.1",
      "server.port": backend.port,
    });
    expect(asked).toEqual([
      { traceparent: `00-${TRACE_ID}-${load?.spanId}-01`, tracestate: "vendor=1", baggage: "tenant=7" },
    ]);
    await call(node, "GET", "/api/cache/other", { ...headers, traceparent: NOT_SAMPLED });
    expect(asked[1]).toEqual({ traceparent: NOT_SAMPLED, tracestate: "vendor=1", baggage: "tenant=7" });
  });

  test("passes the context on without an exporter, too, for loads and for writes", async () => {
    const asked: (string | null)[] = [];
    using backend = Bun.serve({
      hostname: "127.0.0.1",
      port: 0,
      fetch: ({ method, headers }) => {
        asked.push(`${method} ${headers.get("traceparent")}`);
        return Response.json(1);
      },
    });
    using folder = tempFolder();
    const node = await serve(["--addr=127.0.0.1:0", "--entry-memory=64MiB", "--workers=1"], {
      SERV_CACHE_BACKEND_DB: `http://127.0.0.1:${backend.port}/items`,
      SERV_CACHE_DATA_DIR: folder.path,
    });
    await call(node, "GET", "/api/cache/k", { traceparent: SAMPLED });
    await call(node, "POST", "/api/cache", { traceparent: SAMPLED }, '{"key":"w","value":1}');
    await until("the write is there", () => asked.length === 2);
    expect(asked).toEqual([`GET ${SAMPLED}`, `POST ${SAMPLED}`]);
  });
});
