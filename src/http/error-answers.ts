import type { ConnectionContext } from "./connection-context.ts";
import { ERROR_HEADERS, errorBody, traceIdOf } from "./error-body.ts";
import type { Refusal } from "./refusal.ts";
import type { ParsedRequest } from "./request.ts";
import type { ResponseWriter } from "./response-writer.ts";

const INTERNAL_MESSAGE = "try again; if it fails again, report the trace id";

/** Reports what a handler threw, and answers 500 in its place. An answer that was whole by then stands. */
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
  response.sendText(500, ERROR_HEADERS, errorBody("ERR_INTERNAL", INTERNAL_MESSAGE, traceId));
}

/** Answers, with `Connection: close`, a request that the handler doesn't get. `request` is null where its head is unsure. */
export function answerRefusal(context: ConnectionContext, refusal: Refusal, request: ParsedRequest | null): void {
  const traceId = request === null ? context.newTraceId() : traceIdFor(context, request);
  context.response.expectRefusal(request?.method === "HEAD");
  const { status, code, message, retryAfter } = refusal;
  const headers = retryAfter === undefined ? ERROR_HEADERS : `${ERROR_HEADERS}Retry-After: ${retryAfter}\r\n`;
  context.response.sendText(status, headers, errorBody(code, message, traceId));
}

function traceIdFor(context: ConnectionContext, request: ParsedRequest): string {
  return traceIdOf(request.header("traceparent")) ?? context.newTraceId();
}
