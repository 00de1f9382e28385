import { InvalidPatternError } from "../cache/glob.ts";
import { UpstreamError } from "../cache/upstream.ts";
import { EngineFullError, EngineRefusedError, EngineUnavailableError, InvalidCursorError } from "../engine/engine.ts";
import { randomTraceId, traceIdOf, writeError } from "./error-body.ts";
import { ERROR_STATUS, type ErrorCode } from "./error-codes.ts";
import type { HttpRequest, HttpResponse } from "./exchange.ts";
import { JsonError } from "./json-grammar.ts";
import { BadKeyError } from "./key-buffer.ts";
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

/** A request that can't be understood. */
export function invalid(code: ErrorCode, message: string): ApiError {
  return new ApiError(400, code, message);
}

/** What an error means to the client. Throws it again if it is no client's affair nor the engine's, but a bug. */
export function asApiError(error: unknown): ApiError {
  if (error instanceof ApiError) return error;
  if (
    error instanceof BadKeyError ||
    error instanceof JsonError ||
    error instanceof InvalidPatternError ||
    error instanceof InvalidCursorError
  ) {
    return new ApiError(400, error.code, error.message, "", { cause: error });
  }
  if (error instanceof EngineFullError) return new ApiError(507, error.code, error.message, "", { cause: error });
  if (error instanceof EngineRefusedError) {
    return new ApiError(ERROR_STATUS[error.code], error.code, error.message, "", { cause: error });
  }
  if (error instanceof EngineUnavailableError) {
    return new ApiError(503, error.code, error.message, retryAfterHeader(error.retryAfterMs), { cause: error });
  }
  if (error instanceof UpstreamError) {
    const isFinal = error.code === "ERR_BACKEND_REFUSED" || error.code === "ERR_BACKEND_KEY";
    const retryAfter = isFinal ? "" : retryAfterHeader(error.retryAfterMs);
    return new ApiError(ERROR_STATUS[error.code], error.code, error.message, retryAfter, { cause: error });
  }
  throw error;
}

function retryAfterHeader(retryAfterMs: number): string {
  return `Retry-After: ${Math.ceil(retryAfterMs / 1000)}\r\n`;
}
