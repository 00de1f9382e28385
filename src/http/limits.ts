/** What a client may use of the connection layer. Everything is bounded; going over a bound has a named answer. */
export interface HttpLimits {
  /** Request line and headers together; over it: 431 `ERR_HEADERS_TOO_LARGE`. */
  readonly headBytes: number;
  /** At most `MAX_HEADERS`; over it: 431 `ERR_HEADERS_TOO_LARGE`. */
  readonly headers: number;
  /** Over it: 414 `ERR_TARGET_TOO_LONG`. */
  readonly targetBytes: number;
  /** De-chunked; over it: 413 `ERR_BODY_TOO_LARGE`, before the body is read where Content-Length tells. */
  readonly bodyBytes: number;
  /** All bodies that are being received at one time, of all connections of a server; over it: 503 `ERR_OVERLOADED`. */
  readonly bodiesInFlightBytes: number;
  /** Trailers after a chunked body, which are read and dropped; over it: 431 `ERR_HEADERS_TOO_LARGE`. */
  readonly trailerBytes: number;
  /** What may arrive ahead of its turn on one connection before the socket is paused. */
  readonly readAheadBytes: number;
  /** From the first byte of a head to its end; over it: 408 `ERR_REQUEST_TIMEOUT`. */
  readonly headTimeoutMs: number;
  /** Without a byte of an expected body; over it: 408 `ERR_REQUEST_TIMEOUT`. */
  readonly bodyTimeoutMs: number;
  /** Between requests; over it the connection is closed without a word. */
  readonly idleTimeoutMs: number;
  /** Without the client taking a byte of its answer; over it the connection is cut. */
  readonly writeTimeoutMs: number;
  /** How long a client that was told `Connection: close` may go on sending before it is cut. */
  readonly lingerMs: number;
  /** During a drain: how long an idle connection is kept for the request that may be under way on it. */
  readonly drainLingerMs: number;
  /**
   * Per server; over it: 503 `ERR_TOO_MANY_CONNECTIONS`, then closed. Keep it below the process's limit on file
   * descriptors: at that limit Bun retries `accept` in a busy loop until one is free.
   */
  readonly connections: number;
}

/** Room for header positions in every request object; `HttpLimits.headers` may not be more. */
export const MAX_HEADERS = 100;

const KIB = 1024;
const MIB = 1024 * KIB;

export const DEFAULT_HTTP_LIMITS: HttpLimits = {
  headBytes: 16 * KIB,
  headers: MAX_HEADERS,
  targetBytes: 8 * KIB,
  // The largest value, and what a JSON document wraps around it.
  bodyBytes: 16 * MIB + 64 * KIB,
  bodiesInFlightBytes: 256 * MIB,
  trailerBytes: 8 * KIB,
  readAheadBytes: 64 * KIB,
  headTimeoutMs: 10_000,
  bodyTimeoutMs: 10_000,
  idleTimeoutMs: 60_000,
  writeTimeoutMs: 30_000,
  lingerMs: 2_000,
  drainLingerMs: 1_000,
  connections: 10_000,
};
