import { randomTraceId, traceIdOf, writeError } from "./error-body.ts";
import type { ErrorCode } from "./error-codes.ts";
import type { HttpRequest, HttpResponse } from "./exchange.ts";
import { OVERLOADED } from "./refusal.ts";

/** An error answer as an exception: thrown anywhere below the router, it becomes the response. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly code: ErrorCode,
    /** What was wrong, with which value, and what to do. */
    message: string,
    /** Further headers: zero or more `Name: value\r\n`, ASCII. */
    readonly headers = "",
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/** The budget has no room for the bytes of an answer. Allocated once, because it is thrown when memory is scarce. */
export const TOO_MUCH_IN_FLIGHT = new ApiError(
  OVERLOADED.status,
  OVERLOADED.code,
  OVERLOADED.message,
  `Retry-After: ${OVERLOADED.retryAfter}\r\n`,
);

/** @param activeTraceId the trace id of the request, if it is traced */
export function sendError(
  request: HttpRequest,
  response: HttpResponse,
  error: ApiError,
  activeTraceId: string | null,
): void {
  const traceId = activeTraceId ?? traceIdOf(request.header("traceparent")) ?? randomTraceId();
  writeError(response, error, request.header("accept"), traceId);
}
