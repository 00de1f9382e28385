/** The limits of the connection layer. Everything is bounded; exceeding a limit has a defined answer. */
export interface HttpLimits {
  /** Request line and headers together; above it: 431 `ERR_HEADERS_TOO_LARGE`. */
  readonly headBytes: number;
  /** At most `MAX_HEADERS`; above it: 431 `ERR_HEADERS_TOO_LARGE`. */
  readonly headers: number;
  /** Above it: 414 `ERR_TARGET_TOO_LONG`. */
  readonly targetBytes: number;
  /**
   * Without chunked framing; above it: 413 `ERR_BODY_TOO_LARGE`, before the body is read if Content-Length announces
   * it.
   */
  readonly bodyBytes: number;
  /** Trailers after a chunked body, which are read and dropped; above it: 431 `ERR_HEADERS_TOO_LARGE`. */
  readonly trailerBytes: number;
  /** Bytes that may arrive ahead of their turn on one connection before the socket is paused. */
  readonly readAheadBytes: number;
  /** From the first byte of a head to its end; above it: 408 `ERR_REQUEST_TIMEOUT`. */
  readonly headTimeoutMs: number;
  /** The window in which a body must progress by `minBytesPerSecond`; below it: 408 `ERR_REQUEST_TIMEOUT`. */
  readonly bodyTimeoutMs: number;
  /** Between requests; above it the connection is closed without an answer. */
  readonly idleTimeoutMs: number;
  /**
   * The window in which the kernel must accept `minBytesPerSecond` of an answer; below it the connection is closed. It
   * is much longer than that of a body: a client with full buffers accepts nothing until it has read a good part of
   * them.
   */
  readonly writeTimeoutMs: number;
  /** With the windows, it bounds the total time of a body or an answer by its size. */
  readonly minBytesPerSecond: number;
  /** The window for `tightBytesPerSecond`, the rate for holders of bytes while few bytes in flight are left. */
  readonly tightTimeoutMs: number;
  readonly tightBytesPerSecond: number;
  /** How long a client may continue sending after `Connection: close` before the connection is cut. */
  readonly lingerMs: number;
  /** During a drain: how long an idle connection is kept for a request that may be on its way. */
  readonly drainLingerMs: number;
  /**
   * Per server; above it: 503 `ERR_TOO_MANY_CONNECTIONS`, then closed. Keep it below the process's limit on file
   * descriptors: at that limit Bun retries `accept` in a busy loop until one is free.
   */
  readonly connections: number;
}

/** The capacity for header positions in every request object; `HttpLimits.headers` may not exceed it. */
export const MAX_HEADERS = 100;

const KIB = 1024;
const MIB = 1024 * KIB;

export const DEFAULT_HTTP_LIMITS: HttpLimits = {
  headBytes: 16 * KIB,
  headers: MAX_HEADERS,
  targetBytes: 8 * KIB,
  // The largest value plus the JSON document around it.
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
