import { expect, test } from "bun:test";
import { errorBody, randomTraceId, traceIdOf } from "../../src/http/error-body.ts";

const TRACE = "4bf92f3577b34da6a3ce929d0e0e4736";

test("an error body is JSON whatever the message holds", () => {
  expect(JSON.parse(errorBody("ERR_A", 'say "b"\n', TRACE))).toEqual({
    error: 'say "b"\n',
    code: "ERR_A",
    trace_id: TRACE,
  });
});

test("trace ids are 32 hexadecimal digits, and differ", () => {
  expect(randomTraceId()).toMatch(/^[0-9a-f]{32}$/);
  expect(randomTraceId()).not.toBe(randomTraceId());
});

for (const [traceparent, traceId] of [
  [`00-${TRACE}-00f067aa0ba902b7-01`, TRACE],
  [`01-${TRACE}-00f067aa0ba902b7-01-later`, TRACE],
  [`ff-${TRACE}-00f067aa0ba902b7-01`, null],
  [`00-${TRACE.toUpperCase()}-00f067aa0ba902b7-01`, null],
  [`00-${"0".repeat(32)}-00f067aa0ba902b7-01`, null],
  [`00-${TRACE}-${"0".repeat(16)}-01`, null],
  [`00-${TRACE}-00f067aa0ba902b7`, null],
  ["", null],
  [null, null],
] as const) {
  test(`the trace id of traceparent ${traceparent} is ${traceId}`, () => {
    expect(traceIdOf(traceparent)).toBe(traceId);
  });
}
