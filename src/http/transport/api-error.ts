import { randomTraceId, traceIdOf, writeError } from "./error-body.ts";
import type { ErrorCode } from "./error-codes.ts";
import type { HttpRequest, HttpResponse } from "./exchange.ts";
import { OVERLOADED } from "./refusal.ts";

/** An answer that is not a success: thrown anywhere below the router, it becomes the response. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly code: ErrorCode,
    /** What was wrong, with which value, and what to do. */
    message: string,
    /** More headers: zero or more `Name: value\r\n`, ASCII. */
    readonly headers = "",
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/** The bytes of an answer have no room in the budget. Made once: it is thrown where little memory is left. */
export const TOO_MUCH_IN_FLIGHT = new ApiError(
  OVERLOADED.status,
  OVERLOADED.code,
  OVERLOADED.message,
  `Retry-After: ${OVERLOADED.retryAfter}\r\n`,
);

/** @param activeTraceId of the request, where it is traced */
export function sendError(
  request: HttpRequest,
  response: HttpResponse,
  error: ApiError,
  activeTraceId: string | null,
): void {
  const traceId = activeTraceId ?? traceIdOf(request.header("traceparent")) ?? randomTraceId();
  writeError(response, error, request.header("accept"), traceId);
}
