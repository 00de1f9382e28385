import { describe, expect, test } from "bun:test";
import {
  carrierFrom,
  carrierOf,
  parseTraceparent,
  spanIdsOf,
  traceHeaders,
} from "../../src/telemetry/trace/trace-context.ts";

const TRACE_ID = "0af7651916cd43dd8448eb211c80319c";
const SPAN_ID = "b7ad6b7169203331";
const SAMPLED = `00-${TRACE_ID}-${SPAN_ID}-01`;

describe("a traceparent", () => {
  test.each([
    [SAMPLED, true],
    [`00-${TRACE_ID}-${SPAN_ID}-00`, false],
    [`00-${TRACE_ID}-${SPAN_ID}-03`, true],
    [`cc-${TRACE_ID}-${SPAN_ID}-01-what-comes-later`, true],
  ])("is read: %s", (text, isSampled) => {
    expect(parseTraceparent(text)).toEqual({ traceId: TRACE_ID, spanId: SPAN_ID, isSampled });
  });

  test.each([
    "",
    "nonsense",
    `ff-${TRACE_ID}-${SPAN_ID}-01`,
    `00-${"0".repeat(32)}-${SPAN_ID}-01`,
    `00-${TRACE_ID}-${"0".repeat(16)}-01`,
    `00-${TRACE_ID.toUpperCase()}-${SPAN_ID}-01`,
    `00-${TRACE_ID}-${SPAN_ID}`,
    `00-${TRACE_ID}-${SPAN_ID}-1`,
    `${SAMPLED}, ${SAMPLED}`,
  ])("is none: %s", (text) => {
    expect(parseTraceparent(text)).toBeNull();
  });
});

describe("a context", () => {
  test("goes on with all that it brought", () => {
    const carrier = carrierOf(SAMPLED, "a=1", "b=2");
    expect(traceHeaders(carrier)).toEqual({ traceparent: SAMPLED, tracestate: "a=1", baggage: "b=2" });
    expect(traceHeaders(carrierOf(SAMPLED, null, "b=2"))).toEqual({ traceparent: SAMPLED, baggage: "b=2" });
    expect(traceHeaders(carrierOf(SAMPLED, null, null))).toEqual({ traceparent: SAMPLED });
    expect(spanIdsOf(carrier ?? "")).toEqual({ traceId: TRACE_ID, spanId: SPAN_ID, isSampled: true });
  });

  test("goes on from the span that was made in it", () => {
    const span = { traceId: TRACE_ID, spanId: "1".repeat(16), isSampled: true };
    expect(traceHeaders(carrierFrom(span, carrierOf(SAMPLED, "a=1", null)))).toEqual({
      traceparent: `00-${TRACE_ID}-${"1".repeat(16)}-01`,
      tracestate: "a=1",
    });
    expect(carrierFrom(span, undefined)).toBe(`00-${TRACE_ID}-${"1".repeat(16)}-01`);
  });

  test("is left out where it can't be read, is too long or holds what no header may", () => {
    expect(carrierOf(null, "a=1", null)).toBeUndefined();
    expect(carrierOf("nonsense", "a=1", null)).toBeUndefined();
    expect(carrierOf(SAMPLED, "x".repeat(513), "ü")).toBe(SAMPLED);
    expect(traceHeaders(undefined)).toEqual({});
  });
});
