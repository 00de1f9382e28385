import type { ConnectionContext } from "./connection-context.ts";
import { type ErrorAnswer, traceIdOf, writeError } from "./error-body.ts";
import type { Refusal } from "./refusal.ts";
import type { ParsedRequest } from "./request.ts";
import type { ResponseWriter } from "./response-writer.ts";

const INTERNAL: ErrorAnswer = {
  status: 500,
  code: "ERR_INTERNAL",
  message: "try again; if it fails again, report the trace id",
};

/** Reports an exception of a handler, and answers 500 instead. An answer that is already complete stays. */
export function answerInternalError(
  context: ConnectionContext,
  error: unknown,
  request: ParsedRequest,
  response: ResponseWriter,
): void {
  const traceId = traceIdFor(context, request);
  context.onError(error, traceId);
  if (response.answered) return;
  response.rewind();
  writeError(response, INTERNAL, request.header("accept"), traceId);
}

/**
 * Answers a request that never reaches the handler, with `Connection: close`. `request` is null if its head is
 * uncertain.
 */
export function answerRefusal(context: ConnectionContext, refusal: Refusal, request: ParsedRequest | null): void {
  const traceId = request === null ? context.newTraceId() : traceIdFor(context, request);
  context.response.expectRefusal(request?.method === "HEAD");
  const { retryAfter } = refusal;
  const answer = retryAfter === undefined ? refusal : { ...refusal, headers: `Retry-After: ${retryAfter}\r\n` };
  writeError(context.response, answer, request?.header("accept") ?? null, traceId);
}

function traceIdFor(context: ConnectionContext, request: ParsedRequest): string {
  return traceIdOf(request.header("traceparent")) ?? context.newTraceId();
}
