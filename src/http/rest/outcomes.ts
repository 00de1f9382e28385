import type { Condition, DeleteOutcome, IncrementOutcome, PutOutcome, TouchOutcome } from "../../engine/engine.ts";
import { ApiError } from "../transport/api-error.ts";
import type { HttpResponse } from "../transport/exchange.ts";
import { JSON_HEADERS } from "../transport/json-answer.ts";

/**
 * Throws the `ApiError` of an outcome, or returns. `superseded` is a success: a newer mutation has won, as it would
 * have a moment later. With a condition it is a failure, because the condition was not checked against the newer value.
 */
export function requireSuccess(
  outcome: PutOutcome | DeleteOutcome | TouchOutcome | IncrementOutcome["kind"],
  condition: Condition | null,
): void {
  switch (outcome) {
    case "superseded":
      if (condition !== null) throw preconditionFailed();
      break;
    case "condition-failed":
      throw preconditionFailed();
    case "too-large":
      throw tooLarge(
        "the entry is larger than the cache's memory allows: store less under one key, or give it more memory",
      );
    case "not-an-integer":
      throw new ApiError(
        409,
        "ERR_NOT_AN_INTEGER",
        "the value is not a JSON integer up to 2^53: put one before you increment",
      );
    case "out-of-range":
      throw new ApiError(409, "ERR_OUT_OF_RANGE", "the sum is beyond 2^53: put a smaller number first");
    default:
  }
}

const SUCCESS = '{"status":"success"}';

/** Answers a write according to its outcome. Throws `ApiError` like `requireSuccess`. */
export function sendStored(response: HttpResponse, outcome: PutOutcome, condition: Condition | null): void {
  requireSuccess(outcome, condition);
  sendSuccess(response);
}

export function sendSuccess(response: HttpResponse): void {
  response.sendText(200, JSON_HEADERS, SUCCESS);
}

export function preconditionFailed(): ApiError {
  return new ApiError(
    412,
    "ERR_PRECONDITION_FAILED",
    "the entry does not match If-Match or If-None-Match: read it again and decide anew",
  );
}

export function tooLarge(message: string): ApiError {
  return new ApiError(413, "ERR_TOO_LARGE", message);
}

const ABSENT = "the cache has no entry under this key: put one, or check the key";

export const NOT_FOUND = new ApiError(404, "ERR_NOT_FOUND", ABSENT);

/**
 * The answer to a read that missed. Allocated once: a miss is no exception, and creating an error costs more than a
 * look-up.
 */
export const MISSED = new ApiError(404, "ERR_NOT_FOUND", ABSENT, "Cache-Status: ServCache; fwd=uri-miss\r\n");
