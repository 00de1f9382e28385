/** Converts the errors of the layers below to API errors. */

import { UpstreamError } from "../../cache/upstream-error.ts";
import {
  EngineFullError,
  EngineRefusedError,
  EngineUnavailableError,
  InvalidCursorError,
} from "../../engine/engine.ts";
import { InvalidPatternError } from "../../model/glob.ts";
import { JsonError } from "../../model/json-grammar.ts";
import { ApiError } from "../transport/api-error.ts";
import { ERROR_STATUS, type ErrorCode } from "../transport/error-codes.ts";
import { BadKeyError } from "./key-buffer.ts";

/** The API error for an error of the engine or the request. Rethrows any other error, which is a bug. */
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

/** A malformed request. */
export function invalid(code: ErrorCode, message: string): ApiError {
  return new ApiError(400, code, message);
}

export function retryAfterHeader(retryAfterMs: number): string {
  return `Retry-After: ${Math.ceil(retryAfterMs / 1000)}\r\n`;
}
