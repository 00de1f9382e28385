import { describe, expect, test } from "bun:test";
import type { LatencyFamily } from "../../src/telemetry/metric-family.ts";
import { Operation } from "../../src/telemetry/operations.ts";
import { makeRequestCounts, RequestCounts, requestFamilies } from "../../src/telemetry/request-counts.ts";

function latencies(counts: ReturnType<typeof makeRequestCounts>, name: string): LatencyFamily {
  const family = requestFamilies(counts).find((one) => one.name === name);
  if (family?.kind !== "histogram") throw new Error(`there is no histogram ${name}`);
  return family;
}

describe("counts of requests", () => {
  test("of all threads add up, by operation and result", () => {
    const shared = makeRequestCounts(3);
    const [first, second] = [new RequestCounts(shared, 1), new RequestCounts(shared, 2)];
    first.add(Operation.Get, 200, false, 1);
    second.add(Operation.Get, 304, false, 2);
    second.add(Operation.Get, 404, false, 3);
    second.add(Operation.Get, 200, true, 4);
    first.add(Operation.Put, 200, false, 5);
    first.add(Operation.Delete, 404, false, 6);
    first.add(Operation.Batch, 503, false, 7);
    const { points } = latencies(shared, "http.server.request.duration");
    expect(points.map(({ attributes, histogram }) => [attributes, histogram.count, histogram.sumSeconds])).toEqual([
      [{ operation: "get", result: "hit" }, 2, 0.003],
      [{ operation: "get", result: "miss" }, 1, 0.003],
      [{ operation: "get", result: "loaded" }, 1, 0.004],
      [{ operation: "put", result: "ok" }, 1, 0.005],
      [{ operation: "delete", result: "client_error" }, 1, 0.006],
      [{ operation: "batch", result: "server_error" }, 1, 0.007],
    ]);
  });

  test("have the newest traced request of each kind as exemplar", () => {
    const shared = makeRequestCounts(2);
    const exemplar = { traceId: "0af7651916cd43dd8448eb211c80319c", spanId: "b7ad6b7169203331", seconds: 0.25 };
    for (const [thread, unixMs] of [1_800_000_000_000, 1_800_000_001_000].entries()) {
      const counts = new RequestCounts(shared, thread);
      counts.add(Operation.Get, 200, false, 250);
      counts.addExemplar(Operation.Get, 200, false, { ...exemplar, unixMs });
    }
    const [point] = latencies(shared, "http.server.request.duration").points;
    expect(point?.histogram.exemplar).toEqual({ ...exemplar, unixMs: 1_800_000_001_000 });
  });

  test("tell the delay of the event loop by thread, and open connections together", () => {
    const shared = makeRequestCounts(2);
    for (const thread of [0, 1]) {
      const counts = new RequestCounts(shared, thread);
      counts.addLoopDelay(thread);
      counts.setConnections(10 + thread);
    }
    expect(latencies(shared, "servcache.event_loop.delay").points.map(({ attributes }) => attributes)).toEqual([
      { thread: "0" },
      { thread: "1" },
    ]);
    expect(requestFamilies(shared).find(({ name }) => name === "servcache.connections")?.points).toEqual([
      { attributes: {}, value: 21 },
    ]);
  });

  test("refuse a thread that there is no region for", () => {
    expect(() => new RequestCounts(makeRequestCounts(1), 1)).toThrow(RangeError);
  });
});
