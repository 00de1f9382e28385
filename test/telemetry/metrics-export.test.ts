import { afterEach, describe, expect, test } from "bun:test";
import { OtlpReceiver } from "../support/otlp/receiver.ts";
import { endServed, serve } from "../support/serve.ts";
import { until } from "../support/until.ts";

afterEach(endServed);

describe.each(["http/protobuf", "http/json"])("metrics over OTLP as %s", (protocol) => {
  test("are the counts of /metrics, durations as exponential histograms", async () => {
    await using receiver = await OtlpReceiver.start();
    const node = await serve(["--addr=127.0.0.1:0", "--entry-memory=64MiB", "--workers=2"], {
      SERV_OTLP_ENDPOINT: receiver.url,
      OTEL_TRACES_EXPORTER: "none",
      OTEL_METRIC_EXPORT_INTERVAL: "100",
      OTEL_EXPORTER_OTLP_PROTOCOL: protocol,
    });
    const url = `http://127.0.0.1:${node.port}/api/cache/user:1`;
    await fetch(url, { method: "PUT", body: "1" });
    for (let number = 0; number < 10; number++) await (await fetch(url)).text();
    const hits = () => receiver.metrics.get("servcache.hits")?.points[0]?.point.asDouble;
    await until("the hits arrive", () => hits() === 10);
    await until("they are counted by namespace", () =>
      (receiver.metrics.get("servcache.namespace.reads")?.points ?? []).some(({ point }) => point.asDouble === 10),
    );
    const durations = receiver.metrics.get("http.server.request.duration");
    expect([durations?.kind, durations?.unit]).toEqual(["exponentialHistogram", "s"]);
    const gets = durations?.points.find(({ attributes }) => attributes.result === "hit");
    expect(gets?.attributes).toEqual({ operation: "get", result: "hit" });
    expect([Number(gets?.point.count), gets?.point.scale]).toEqual([10, 4]);
    const counts: number[] = gets?.point.positive.bucketCounts.map(Number);
    expect(counts.reduce((sum, count) => sum + count, 0)).toBe(10);
    // The mean lies between the outermost buckets.
    const { offset } = gets?.point.positive ?? {};
    const meanS = gets?.point.sum / 10;
    expect(meanS).toBeWithin(2 ** (offset / 16) * 0.999, 2 ** ((offset + counts.length) / 16) * 1.001);
    expect(receiver.metrics.get("servcache.hits")).toMatchObject({ kind: "sum", unit: "{read}" });
    expect(receiver.metrics.get("servcache.memory.limit")).toMatchObject({ kind: "gauge", unit: "By" });
  });
});

test("metrics are sent once more when the node ends", async () => {
  await using receiver = await OtlpReceiver.start();
  const node = await serve(["--addr=127.0.0.1:0", "--entry-memory=64MiB", "--workers=1"], {
    SERV_OTLP_ENDPOINT: receiver.url,
  });
  await fetch(`http://127.0.0.1:${node.port}/api/cache/absent`);
  node.signal("SIGTERM");
  await node.finished();
  expect(receiver.metrics.get("servcache.misses")?.points[0]?.point.asDouble).toBe(1);
});
