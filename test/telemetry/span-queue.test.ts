import { describe, expect, test } from "bun:test";
import { resourceFromAttributes } from "@opentelemetry/resources";
import type { ReadableSpan } from "@opentelemetry/sdk-trace-base";
import { SpanQueue } from "../../src/telemetry/trace/span-queue.ts";
import { Tracer } from "../../src/telemetry/trace/tracer.ts";
import { until } from "../support/until.ts";

interface Sampler {
  readonly ratio: number;
  readonly isParentBased: boolean;
}

const TRACE_ID = "0af7651916cd43dd8448eb211c80319c";
const carrier = (number: number, flags = "01") => `00-${TRACE_ID}-${String(number).padStart(16, "0")}-${flags}`;

function arrange({ limit = 4, batch = 2, random = 0.5, sampler = { ratio: 1, isParentBased: true } as Sampler } = {}) {
  const batches: { spans: readonly ReadableSpan[]; done: (error?: Error) => void }[] = [];
  const counts = { exported: 0, dropped: 0, failed: 0 };
  const failures: string[] = [];
  let isShutDown = false;
  const queue = new SpanQueue({
    exporter: {
      export: (spans, done) => {
        batches.push({ spans, done: (error) => done(error === undefined ? { code: 0 } : { code: 1, error }) });
      },
      shutdown: async () => {
        isShutDown = true;
      },
    },
    limit,
    batch,
    delayMs: 3_600_000,
    counts: {
      addSpans: (more) => {
        for (const name of ["exported", "dropped", "failed"] as const) counts[name] += more[name] ?? 0;
      },
    },
    onFailure: (message) => failures.push(message),
    monotonicMs: () => 0,
  });
  const tracer = new Tracer({
    sampler,
    queue,
    resource: resourceFromAttributes({}),
    scope: { name: "test" },
    nowMs: () => 1_000.5,
    random: () => random,
    nameKey: (key) => key,
  });
  return { batches, counts, failures, queue, tracer, isShutDown: () => isShutDown };
}

describe("the queue of spans", () => {
  test("sends what waits in batches, one after the other", async () => {
    const { batches, counts, queue, tracer, isShutDown } = arrange({ limit: 10 });
    for (const name of ["a", "b", "c"]) tracer.startServer(name, undefined).end();
    const closed = queue.close();
    await until("the first batch is sent", () => batches.length > 0);
    expect(batches.map(({ spans }) => spans.map(({ name }) => name))).toEqual([["a", "b"]]);
    batches[0]?.done();
    await until("the second batch is sent", () => batches.length > 1);
    batches[1]?.done();
    await closed;
    expect(batches[1]?.spans.map(({ name }) => name)).toEqual(["c"]);
    expect(counts).toEqual({ exported: 3, dropped: 0, failed: 0 });
    expect(isShutDown()).toBe(true);
  });

  test("drops and counts what finds no room, and no more spans are made then", () => {
    const { counts, queue, tracer } = arrange({ limit: 3, batch: 3 });
    const spans = Array.from({ length: 5 }, (_, number) => tracer.startServer(String(number), undefined));
    for (const span of spans) span.end();
    expect([queue.isFull, counts.dropped]).toEqual([true, 2]);
    expect(tracer.samples(carrier(1))).toBe(false);
    expect(tracer.startLater("later", 2, [carrier(1)])).toBeNull();
    expect(counts.dropped).toBe(5);
  });

  test("counts what could not be sent, and says why", async () => {
    const { batches, counts, failures, queue, tracer } = arrange();
    tracer.startServer("a", undefined).end();
    const flushed = queue.flush();
    await until("the batch is sent", () => batches.length > 0);
    batches[0]?.done(new Error("refused"));
    await flushed;
    expect(counts).toEqual({ exported: 0, dropped: 0, failed: 1 });
    expect(failures).toEqual(["spans could not be exported: refused"]);
  });

  test("takes a span once, however often it ends", () => {
    const { counts, tracer } = arrange({ limit: 1, batch: 1 });
    const span = tracer.startServer("a", undefined);
    span.end();
    span.end();
    expect(counts.dropped).toBe(0);
  });
});

describe("the tracer", () => {
  test.each([
    [{ ratio: 0.5, isParentBased: true }, undefined, 0.49, true],
    [{ ratio: 0.5, isParentBased: true }, undefined, 0.5, false],
    [{ ratio: 0, isParentBased: true }, undefined, 0, false],
    [{ ratio: 0, isParentBased: true }, carrier(1), 0, true],
    [{ ratio: 1, isParentBased: true }, carrier(1, "00"), 0, false],
    [{ ratio: 1, isParentBased: true }, "nonsense", 0.9, true],
    [{ ratio: 1, isParentBased: false }, carrier(1, "00"), 0.9, true],
    [{ ratio: 0, isParentBased: false }, carrier(1), 0, false],
  ])("samples by %p the carrier %p with the random number %p: %p", (sampler, given, random, expected) => {
    expect(arrange({ sampler, random }).tracer.samples(given)).toBe(expected);
  });

  test("makes work for one trace a part of it, and links what it is for besides", () => {
    const { tracer } = arrange();
    const span = tracer.startLater("write", 2, [carrier(1), carrier(2), carrier(2), carrier(3, "00"), ""]);
    expect(span?.ids.traceId).toBe(TRACE_ID);
    expect(span?.parentSpanContext?.spanId).toBe("1".padStart(16, "0"));
    expect(span?.links.map(({ context }) => context.spanId)).toEqual(["2".padStart(16, "0")]);
  });

  test("makes work for several traces a trace of its own, with links to a bounded number of them", () => {
    const { tracer } = arrange();
    const carriers = Array.from({ length: 500 }, (_, number) => {
      const id = String(number + 1);
      return `00-${id.padStart(32, "0")}-${id.padStart(16, "0")}-01`;
    });
    const span = tracer.startLater("write", 2, carriers);
    expect([span?.parentSpanContext, span?.links.length]).toEqual([undefined, 128]);
    expect(span?.ids.traceId).toMatch(/^[0-9a-f]{32}$/);
  });

  test("makes no span for work that nobody samples", () => {
    const { tracer } = arrange();
    expect(tracer.startLater("write", 2, [carrier(1, "00"), "nonsense"])).toBeNull();
    expect(tracer.startClient("GET")).toBeNull();
  });

  test("knows the span that work is for, across promises", async () => {
    const { tracer } = arrange();
    const span = tracer.startServer("a", undefined);
    const names = await tracer.run(span, async () => {
      const before = tracer.active?.name;
      await Promise.resolve();
      return [before, tracer.active?.name, tracer.startClient("b")?.parentSpanContext?.spanId];
    });
    expect(names).toEqual(["a", "a", span.ids.spanId]);
    expect(tracer.active).toBeNull();
  });

  test("gives times as OpenTelemetry wants them", () => {
    const span = arrange().tracer.startServer("a", undefined);
    span.end();
    expect([span.startTime, span.endTime, span.duration]).toEqual([
      [1, 500_000],
      [1, 500_000],
      [0, 0],
    ]);
  });
});
