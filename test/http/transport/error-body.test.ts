import { expect, test } from "bun:test";
import { randomTraceId, traceIdOf, writeError } from "../../../src/http/transport/error-body.ts";

const TRACE = "4bf92f3577b34da6a3ce929d0e0e4736";

function written(accept: string | null): { status: number; headers: string; body: unknown } {
  let answer = { status: 0, headers: "", body: null as unknown };
  const sendText = (status: number, headers: string, body: string): void => {
    answer = { status, headers, body: JSON.parse(body) };
  };
  const error = { status: 404, code: "ERR_NOT_FOUND", message: 'say "b"\n', headers: "X: y\r\n" } as const;
  writeError({ sendText }, error, accept, TRACE);
  return answer;
}

const MEMBERS = { error: 'say "b"\n', code: "ERR_NOT_FOUND", trace_id: TRACE };

for (const accept of [
  null,
  "*/*",
  "application/*",
  "application/json",
  "application/problem+json;q=0",
  "application/problem+json; q=0.00",
  "application/problem+jsonx, text/plain",
]) {
  test(`an error is JSON, whatever the message holds, for Accept: ${accept}`, () => {
    expect(written(accept)).toEqual({
      status: 404,
      headers: "Content-Type: application/json\r\nCache-Control: no-store\r\nX: y\r\n",
      body: MEMBERS,
    });
  });
}

for (const accept of [
  "application/problem+json",
  "application/json, Application/Problem+JSON",
  "application/problem+json ; q=0.5 , */*",
]) {
  test(`an error is a problem (RFC 9457) with the same members, for Accept: ${accept}`, () => {
    expect(written(accept)).toEqual({
      status: 404,
      headers: "Content-Type: application/problem+json\r\nCache-Control: no-store\r\nX: y\r\n",
      body: { type: "about:blank", title: "Not Found", status: 404, detail: 'say "b"\n', ...MEMBERS },
    });
  });
}

test("trace ids are 32 hexadecimal digits, and differ", () => {
  expect(randomTraceId()).toMatch(/^[0-9a-f]{32}$/);
  const many = 10_000;
  expect(new Set(Array.from({ length: many }, randomTraceId)).size).toBe(many);
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
