import { InvalidPatternError } from "../cache/glob.ts";
import { EngineFullError, EngineUnavailableError, InvalidCursorError } from "../engine/engine.ts";
import { ERROR_HEADERS, errorBody, randomTraceId, traceIdOf } from "./error-body.ts";
import type { HttpRequest, HttpResponse } from "./exchange.ts";
import { JsonError } from "./json-grammar.ts";
import { BadKeyError } from "./key-buffer.ts";

/** An answer that is not a success: thrown anywhere below the router, it becomes the response. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    /** Stable, `ERR_…`. */
    readonly code: string,
    /** What was wrong, with which value, and what to do. */
    message: string,
    /** More headers: zero or more `Name: value\r\n`, ASCII. */
    readonly headers = "",
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

export function sendError(request: HttpRequest, response: HttpResponse, error: ApiError): void {
  const traceId = traceIdOf(request.header("traceparent")) ?? randomTraceId();
  response.sendText(error.status, ERROR_HEADERS + error.headers, errorBody(error.code, error.message, traceId));
}

/** A request that can't be understood. */
export function invalid(code: string, message: string): ApiError {
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
  if (error instanceof EngineUnavailableError) {
    const retryAfter = `Retry-After: ${Math.ceil(error.retryAfterMs / 1000)}\r\n`;
    return new ApiError(503, error.code, error.message, retryAfter, { cause: error });
  }
  throw error;
}
