import type { ErrorAnswer } from "./error-body.ts";

/** An answer of the connection layer itself. The connection is closed after each of them. */
export interface Refusal extends ErrorAnswer {
  /** Seconds after which the client may retry. */
  readonly retryAfter?: number;
}

/** A request that violates HTTP/1.1 (RFC 9112): its end is uncertain, so nothing after it is read. */
export function badRequest(message: string): Refusal {
  return { status: 400, code: "ERR_BAD_REQUEST", message };
}

export const HEADERS_TOO_LARGE: Refusal = {
  status: 431,
  code: "ERR_HEADERS_TOO_LARGE",
  message: "send fewer or shorter headers",
};

export const TARGET_TOO_LONG: Refusal = {
  status: 414,
  code: "ERR_TARGET_TOO_LONG",
  message: "send a shorter path and query",
};

export const BODY_TOO_LARGE: Refusal = {
  status: 413,
  code: "ERR_BODY_TOO_LARGE",
  message: "send a smaller body",
};

export const VERSION_NOT_SUPPORTED: Refusal = {
  status: 505,
  code: "ERR_HTTP_VERSION",
  message: "use HTTP/1.1 or HTTP/1.0",
};

export const UNKNOWN_CODING: Refusal = {
  status: 501,
  code: "ERR_TRANSFER_CODING",
  message: "send only chunked in Transfer-Encoding: other transfer codings are not supported",
};

export const EXPECTATION_FAILED: Refusal = {
  status: 417,
  code: "ERR_EXPECTATION_FAILED",
  message: "send only 100-continue in Expect",
};

export const REQUEST_TIMEOUT: Refusal = {
  status: 408,
  code: "ERR_REQUEST_TIMEOUT",
  message: "send the whole request without a pause",
};

export const REQUEST_CUT_SHORT: Refusal = badRequest("send the whole request before closing the connection");

export const TOO_MANY_CONNECTIONS: Refusal = {
  status: 503,
  code: "ERR_TOO_MANY_CONNECTIONS",
  message: "try again later, or reuse connections",
  retryAfter: 1,
};

export const OVERLOADED: Refusal = {
  status: 503,
  code: "ERR_OVERLOADED",
  message: "try again in a moment: the node has no room for more bytes of requests and answers",
  retryAfter: 1,
};
