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
  /** Trailers after a chunked body, which are read and dropped; over it: 431 `ERR_HEADERS_TOO_LARGE`. */
  readonly trailerBytes: number;
  /** What may arrive ahead of its turn on one connection before the socket is paused. */
  readonly readAheadBytes: number;
  /** From the first byte of a head to its end; over it: 408 `ERR_REQUEST_TIMEOUT`. */
  readonly headTimeoutMs: number;
  /** In each such time, a body has to move on by `minBytesPerSecond`; under it: 408 `ERR_REQUEST_TIMEOUT`. */
  readonly bodyTimeoutMs: number;
  /** Between requests; over it the connection is closed without a word. */
  readonly idleTimeoutMs: number;
  /**
   * In each such time, the kernel has to take `minBytesPerSecond` of an answer; under it the connection is cut. Much
   * longer than a body's: a client whose buffers are full takes nothing until it has read a good part of them.
   */
  readonly writeTimeoutMs: number;
  /** A window after the other, it bounds the whole time of a body or an answer by its size. */
  readonly minBytesPerSecond: number;
  /** While little is left of the bytes in flight, who holds some of them has to move by `tightBytesPerSecond` in this. */
  readonly tightTimeoutMs: number;
  readonly tightBytesPerSecond: number;
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
  trailerBytes: 8 * KIB,
  readAheadBytes: 64 * KIB,
  headTimeoutMs: 10_000,
  bodyTimeoutMs: 10_000,
  idleTimeoutMs: 60_000,
  writeTimeoutMs: 60_000,
  minBytesPerSecond: 4 * KIB,
  tightTimeoutMs: 2_000,
  tightBytesPerSecond: 64 * KIB,
  lingerMs: 2_000,
  drainLingerMs: 1_000,
  connections: 10_000,
};
