import { afterEach, expect, test } from "bun:test";
import { needing } from "../support/needing.ts";
import { OtlpReceiver } from "../support/otlp/receiver.ts";
import { startPostgres } from "../support/postgres.ts";
import { RedisServer } from "../support/redis-server.ts";
import { endServed, type ServedNode, serve } from "../support/serve.ts";
import { tempFolder } from "../support/temp-folder.ts";
import { until } from "../support/until.ts";

afterEach(endServed);

const CLIENT = 3;

function traceparent(number: number): string {
  return `00-${String(number).padStart(32, "a")}-${String(number).padStart(16, "b")}-01`;
}

function post(node: ServedNode, key: string, parent: string): Promise<Response> {
  return fetch(`http://127.0.0.1:${node.port}/api/cache`, {
    method: "POST",
    headers: { traceparent: parent },
    body: JSON.stringify({ key, value: 1 }),
  });
}

function environment(receiver: OtlpReceiver): Record<string, string> {
  return { OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url, OTEL_BSP_SCHEDULE_DELAY: "20" };
}

needing("postgres").describe("a write through the outbox to PostgreSQL", () => {
  test("is one connected trace; of a batch for several, each is linked", async () => {
    await using receiver = await OtlpReceiver.start();
    await using database = await startPostgres(["log_statement=all"]);
    using folder = tempFolder();
    const node = await serve(["--addr=127.0.0.1:0", "--entry-memory=64MiB", "--workers=2"], {
      ...environment(receiver),
      SERV_CACHE_BACKEND_DB: database.url,
      SERV_CACHE_DATA_DIR: folder.path,
      SERV_CACHE_WRITE_BEHIND_DELAY: "200ms",
      SERV_CACHE_SQL_COMMENTS: "true",
    });
    await post(node, "alone", traceparent(1));
    const [server, cache, write] = await receiver.spansNamed(
      "POST /api/cache",
      "cache.put",
      "INSERT servcache_entries",
    );
    const chain = [server, cache, write].map((span) => [span?.traceId, span?.parentSpanId]);
    const traceId = traceparent(1).slice(3, 35);
    expect(chain).toEqual([
      [traceId, traceparent(1).slice(36, 52)],
      [traceId, server?.spanId],
      [traceId, cache?.spanId],
    ]);
    expect(write).toMatchObject({ kind: CLIENT, statusCode: 0, links: [] });
    expect(write?.attributes).toEqual({
      "db.system.name": "postgresql",
      "db.operation.name": "INSERT",
      "db.collection.name": "servcache_entries",
      "db.namespace": "postgres",
      "server.address": "127.0.0.1",
      "server.port": database.port,
    });
    const log = await Bun.file(`${database.folder}/log`).text();
    expect(log).toContain(`traceparent='00-${traceId}-${write?.spanId}-01'`);

    receiver.spans.length = 0;
    await Promise.all([2, 3, 4].map((number) => post(node, `k${number}`, traceparent(number))));
    const writes = () => receiver.spans.filter(({ name }) => name === "INSERT servcache_entries");
    const linked = () =>
      new Set(writes().flatMap(({ traceId, links }) => [traceId, ...links.map((link) => link.traceId)]));
    const parents = [2, 3, 4].map((number) => traceparent(number).slice(3, 35));
    await until("every write is told of", () => parents.every((id) => linked().has(id)));
    const batch = writes().find(({ links }) => links.length > 1);
    if (batch === undefined) throw new Error("no two of the writes went together");
    expect(batch.parentSpanId).toBeNull();
    expect(batch.attributes["db.operation.batch.size"]).toBe(batch.links.length);
    const puts = receiver.spans.filter(({ name }) => name === "cache.put").map(({ spanId }) => spanId);
    for (const { spanId } of batch.links) expect(puts).toContain(spanId);
  }, 300_000);
});

needing("postgres").describe("a write that is replicated", () => {
  test("is one trace over both nodes, with the database in it", async () => {
    await using receiver = await OtlpReceiver.start();
    await using database = await startPostgres();
    using folders = tempFolder();
    const start = (name: string, env: Record<string, string>) =>
      serve(["--addr=127.0.0.1:0", "--entry-memory=64MiB", "--workers=1"], {
        ...environment(receiver),
        OTEL_SERVICE_NAME: name,
        SERV_CACHE_DATA_DIR: `${folders.path}/${name}`,
        ...env,
      });
    const second = await start("second", { SERV_CACHE_PEERS: "http://127.0.0.1:1" });
    const first = await start("first", {
      SERV_CACHE_PEERS: `http://127.0.0.1:${second.port}`,
      SERV_CACHE_BACKEND_DB: database.url,
    });
    await post(first, "k", traceparent(1));
    const wanted = ["POST", "POST /api/replication", "INSERT servcache_entries", "cache.put"];
    await receiver.spansNamed("POST /api/cache", ...wanted);
    const traceId = traceparent(1).slice(3, 35);
    const spans = receiver.spans.filter((span) => span.traceId === traceId);
    const parentOf = (name: string) => {
      const span = spans.find((one) => one.name === name);
      return spans.find(({ spanId }) => spanId === span?.parentSpanId)?.name;
    };
    expect(wanted.map((name) => [name, parentOf(name)])).toEqual([
      ["POST", "cache.put"],
      ["POST /api/replication", "POST"],
      ["INSERT servcache_entries", "cache.put"],
      ["cache.put", "POST /api/cache"],
    ]);
    const call = spans.find(({ name }) => name === "POST");
    expect(call?.attributes).toEqual({
      "http.request.method": "POST",
      "http.response.status_code": 200,
      "server.address": "127.0.0.1",
      "server.port": second.port,
    });
    const services = ["POST", "POST /api/replication"].map(
      (name) => spans.find((span) => span.name === name)?.resource["service.name"],
    );
    expect(services).toEqual(["first", "second"]);
    const metrics = await (await fetch(`http://127.0.0.1:${first.port}/metrics`)).text();
    // The second node has not heard all of its peers yet: it may send the put back, to be placed later.
    expect(metrics).toMatch(new RegExp(`servcache_peer_sent_total\\{peer="127\\.0\\.0\\.1:${second.port}"\\} [1-9]`));
    expect(metrics).toContain("servcache_backend_rows_written_total 1\n");
    expect(metrics).toContain('servcache_outbox_pending{destination="backend"} 0\n');
  }, 300_000);
});

needing("redis-server").describe("a node on Redis", () => {
  test("makes spans of the commands of a request, and none where it is not sampled", async () => {
    await using receiver = await OtlpReceiver.start();
    const redis = await RedisServer.start();
    try {
      const node = await serve(["--addr=127.0.0.1:0", "--workers=1"], {
        ...environment(receiver),
        OTEL_TRACES_SAMPLER: "parentbased_always_off",
        REDIS_URL: redis.url,
        SERV_CACHE_REDIS_COMMAND_TIMEOUT: "1m",
      });
      await fetch(`http://127.0.0.1:${node.port}/api/cache/k`);
      await fetch(`http://127.0.0.1:${node.port}/api/cache/k`, { headers: { traceparent: traceparent(1) } });
      const [cache] = await receiver.spansNamed("cache.get");
      const commands = receiver.spans.filter(({ kind }) => kind === CLIENT);
      expect(commands.length).toBeGreaterThan(0);
      for (const command of commands) {
        expect(command).toMatchObject({ parentSpanId: cache?.spanId, statusCode: 0 });
        expect(command.attributes).toEqual({
          "db.system.name": "redis",
          "db.operation.name": command.name,
          "db.namespace": "0",
          "server.address": "127.0.0.1",
          "server.port": redis.port,
        });
      }
      expect(receiver.spans.filter(({ name }) => name === "cache.get")).toHaveLength(1);
      expect(cache?.attributes["cache.engine"]).toBe("redis");
    } finally {
      await redis.stop();
    }
  });
});
