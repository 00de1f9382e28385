import { afterEach, describe, expect, test } from "bun:test";
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

describe("a write through the outbox to PostgreSQL", () => {
  test("is one connected trace; of a batch for several, each is linked", async () => {
    await using receiver = await OtlpReceiver.start();
    await using database = await startPostgres(["log_statement=all"]);
    using folder = tempFolder();
    const node = await serve(["--addr=127.0.0.1:0", "--max-memory=64MiB", "--workers=2"], {
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
  }, 30_000);
});

describe("a node on Redis", () => {
  test("makes spans of the commands of a request, and none where it is not sampled", async () => {
    await using receiver = await OtlpReceiver.start();
    const redis = await RedisServer.start();
    try {
      const node = await serve(["--addr=127.0.0.1:0", "--workers=1"], {
        ...environment(receiver),
        OTEL_TRACES_SAMPLER: "parentbased_always_off",
        REDIS_URL: redis.url,
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
