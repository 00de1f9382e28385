import { randomBytes } from "node:crypto";

/** The header that every error body goes with. */
export const ERROR_HEADERS = "Content-Type: application/json\r\n";

/**
 * The JSON of every error answer.
 *
 * @param code stable, `ERR_…`
 * @param message what the caller should do about it
 * @param traceId 32 hexadecimal digits
 */
export function errorBody(code: string, message: string, traceId: string): string {
  return `{"error":${JSON.stringify(message)},"code":${JSON.stringify(code)},"trace_id":${JSON.stringify(traceId)}}`;
}

/** The trace id of a `traceparent` header (W3C Trace Context), or null where there is none that is valid. */
export function traceIdOf(traceparent: string | null): string | null {
  if (traceparent === null) return null;
  const match = /^(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(-.*)?$/.exec(traceparent);
  const traceId = match?.[1];
  if (traceId === undefined || /^0+$/.test(traceId) || /^0+$/.test(match?.[2] ?? "")) return null;
  return traceId;
}

export function randomTraceId(): string {
  return randomBytes(16).toString("hex");
}
