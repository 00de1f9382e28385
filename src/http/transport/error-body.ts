import { randomFillSync } from "node:crypto";
import { STATUS_CODES } from "node:http";
import type { ErrorCode } from "./error-codes.ts";
import type { HttpResponse } from "./exchange.ts";
import { JSON_HEADERS, NO_STORE } from "./json-answer.ts";

const TRACE_ID_BYTES = 16;
const PROBLEM_TYPE = "application/problem+json";
const PROBLEM_HEADERS = `Content-Type: ${PROBLEM_TYPE}\r\n${NO_STORE}`;

/** The content of an error answer. */
export interface ErrorAnswer {
  readonly status: number;
  readonly code: ErrorCode;
  /** What the caller should do about it. */
  readonly message: string;
  /** Further headers: zero or more `Name: value\r\n`, ASCII. */
  readonly headers?: string;
}

/**
 * Writes an error as JSON, or as a problem (RFC 9457) with the same members for a client that accepts that type.
 *
 * @param accept the `Accept` header
 * @param traceId 32 hexadecimal digits
 */
export function writeError(
  response: Pick<HttpResponse, "sendText">,
  { status, code, message, headers = "" }: ErrorAnswer,
  accept: string | null,
  traceId: string,
): void {
  const members = `"error":${JSON.stringify(message)},"code":"${code}","trace_id":"${traceId}"`;
  if (accept === null || !wantsProblem(accept)) {
    response.sendText(status, JSON_HEADERS + headers, `{${members}}`);
    return;
  }
  const title = JSON.stringify(STATUS_CODES[status] ?? "");
  const problem = `"type":"about:blank","title":${title},"status":${status},"detail":${JSON.stringify(message)}`;
  response.sendText(status, PROBLEM_HEADERS + headers, `{${problem},${members}}`);
}

function wantsProblem(accept: string): boolean {
  // A cheap test first, because every miss gets here.
  if (!/problem/i.test(accept)) return false;
  return accept.split(",").some((range) => {
    const [type = "", ...parameters] = range.split(";").map((part) => part.trim().toLowerCase());
    return type === PROBLEM_TYPE && !parameters.some((parameter) => /^q=0(\.0*)?$/.test(parameter));
  });
}

/** The trace id of a `traceparent` header (W3C Trace Context), or null if it is absent or invalid. */
export function traceIdOf(traceparent: string | null): string | null {
  if (traceparent === null) return null;
  const match = /^(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(-.*)?$/.exec(traceparent);
  const traceId = match?.[1];
  if (traceId === undefined || /^0+$/.test(traceId) || /^0+$/.test(match?.[2] ?? "")) return null;
  return traceId;
}

/**
 * Random bytes for many trace ids at once: generating them one by one costs ten times as much, and each miss takes one.
 */
const random = Buffer.alloc(TRACE_ID_BYTES * 256);
let used = random.length;

/** 32 hexadecimal digits. */
export function randomTraceId(): string {
  if (used === random.length) {
    randomFillSync(random);
    used = 0;
  }
  used += TRACE_ID_BYTES;
  return random.hexSlice(used - TRACE_ID_BYTES, used);
}
