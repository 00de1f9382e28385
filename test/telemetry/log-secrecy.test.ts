import { afterEach, expect, test } from "bun:test";
import { callsOf } from "../support/node-calls.ts";
import { endServed, serve } from "../support/serve.ts";
import { tempFolder } from "../support/temp-folder.ts";
import { until } from "../support/until.ts";

afterEach(endServed);

const SECRETS = { database: "db-s3cret", peers: "peer-s3cret", collector: "otlp-s3cret" };
const VALUE = "private-value";

test("whatever fails, a node says nothing of values nor of secrets", async () => {
  using folder = tempFolder();
  const node = await serve(["--addr=127.0.0.1:0", "--entry-memory=64MiB", "--workers=1"], {
    LOG_LEVEL: "trace",
    SERV_CACHE_DATA_DIR: folder.path,
    SERV_CACHE_DRAIN_TIMEOUT: "100ms",
    SERV_CACHE_BACKEND_DB: `postgres://app:${SECRETS.database}@127.0.0.1:1/app`,
    SERV_CACHE_PEERS: "http://127.0.0.1:1",
    SERV_CACHE_PEER_TOKEN: SECRETS.peers,
    OTEL_EXPORTER_OTLP_ENDPOINT: `http://user:${SECRETS.collector}@127.0.0.1:1`,
    OTEL_EXPORTER_OTLP_HEADERS: `authorization=${SECRETS.collector}`,
    OTEL_BSP_SCHEDULE_DELAY: "20",
    // By then an export is given up that is tried again and again.
    OTEL_EXPORTER_OTLP_TIMEOUT: "300",
  });
  const { call, json, put } = callsOf(node.port);
  await put("k", VALUE);
  await call("POST", "/api/cache", { body: `{"key":"bad","value":"${VALUE}` });
  await call("POST", "/api/cache", { body: `{"key":"bad","value":"${VALUE}","ttl":"${VALUE}"}` });
  await call("PUT", "/api/cache/raw?ttl=1h", { body: VALUE, headers: { "content-type": "text/plain" } });
  await call("GET", "/api/cache/absent");
  await call("POST", "/api/replication", {
    body: VALUE,
    headers: { authorization: `Bearer ${SECRETS.peers}`, connection: "close" },
  });
  let health = "";
  await until("database and peer are known to be away", async () => {
    const { backend, peers } = await json("/health");
    health = JSON.stringify({ backend, peers });
    return backend.status === "degraded" && peers.status === "degraded";
  });
  await until("spans are known to be lost", async () =>
    /servcache_spans_total\{outcome="failed"\} [1-9]/.test((await call("GET", "/metrics")).text),
  );
  const told = [health, (await call("GET", "/metrics")).text, (await call("GET", "/api/stats")).text];
  node.signal("SIGTERM");
  const { stderr, stdout } = await node.finished();
  told.push(stderr, stdout);
  expect(stderr).toContain('"level":"warn"');
  for (const text of told) {
    for (const secret of [...Object.values(SECRETS), VALUE]) expect(text).not.toContain(secret);
  }
}, 300_000);
