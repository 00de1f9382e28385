/**
 * The contract that every backend keeps: the database behind the cache.
 *
 * Calls are bounded in time by their caller. A backend never throws for what one key or one row is to blame for: that is
 * in the result of the key or row. It never throws for a database that is away, either: each key or row says so.
 */
import type { CacheValue } from "../model/entry.ts";
import type { Version } from "../model/stamp.ts";

export interface CallOptions {
  /** How long the whole call may take. What has no answer by then is `failed` or `retry`. */
  readonly timeoutMs: number;
  /** Ends the call early. */
  readonly signal?: AbortSignal;
  /**
   * W3C trace context that goes along where the backend can carry it, as one text: see `trace-context.ts`.
   */
  readonly traceContext?: string | undefined;
  /** The contexts of all that a call is for, one per key or row; `TracedBackend` makes one of them. */
  readonly traceparents?: readonly (string | undefined)[];
  /** Of writes that were refused before: no row shares a statement with others. */
  readonly isEachAlone?: boolean;
}

export type LoadResult =
  | { readonly kind: "found"; readonly value: CacheValue }
  | { readonly kind: "absent" }
  /** Not known. A failure is not an absence. */
  | { readonly kind: "failed"; readonly error: BackendError };

export type BackendRow =
  | {
      readonly kind: "put";
      readonly key: string;
      readonly value: CacheValue;
      readonly version: Version;
    }
  | { readonly kind: "delete"; readonly key: string; readonly version: Version };

export type RowResult =
  | { readonly kind: "written" }
  /** The backend has something newer, of `version` where that is known; nothing changed. */
  | { readonly kind: "superseded"; readonly version?: number }
  /** Refused for good: the same row will be refused again. */
  | { readonly kind: "refused"; readonly reason: string }
  /**
   * Not known to be written: the backend is away, busy or broken. Writing it again does no harm. `failedAlone`: it is the
   * row, since others pass.
   */
  | { readonly kind: "retry"; readonly error: BackendError; readonly failedAlone?: boolean };

export interface Backend {
  readonly name: "postgres" | "mysql" | "sqlite" | "http";
  /** How many keys one `load` should be given: 1 where each key is a call of its own. */
  readonly loadBatchKeys: number;
  /** What an operator should know although calls may succeed; empty = nothing. */
  readonly problem: string;

  /**
   * Why a key can never be one of the backend's; empty = it can, as far as is known: what a database says of its types is
   * known from the first connection on.
   */
  keyProblem(key: string): string;
  /** One result per key, in order. Keys are different from each other. */
  load(keys: readonly string[], options: CallOptions): Promise<LoadResult[]>;
  /** One result per row, in order. Keys are different from each other. */
  write(rows: readonly BackendRow[], options: CallOptions): Promise<RowResult[]>;
  /** Throws a `BackendError` that says why the backend can't be used now; resolves where it can, or that can't be told. */
  check(options: CallOptions): Promise<void>;
  /** Cuts what is still under way. */
  close(): Promise<void>;
}

/**
 * - `ERR_BACKEND_TIMEOUT`: no answer in time.
 * - `ERR_BACKEND_UNAVAILABLE`: can't be reached, or said that it can't serve now.
 * - `ERR_BACKEND_ANSWER`: answered something that can't be understood.
 * - `ERR_BACKEND_REFUSED`: refuses this key for good.
 * - `ERR_BACKEND_BUSY`: too many loads wait already, or an earlier write of the key is not yet over; nothing was asked.
 * - `ERR_BACKEND_BREAKER_OPEN`: failed too often a moment ago; nothing was asked.
 */
export type BackendErrorCode =
  | "ERR_BACKEND_TIMEOUT"
  | "ERR_BACKEND_UNAVAILABLE"
  | "ERR_BACKEND_ANSWER"
  | "ERR_BACKEND_REFUSED"
  | "ERR_BACKEND_BUSY"
  | "ERR_BACKEND_BREAKER_OPEN";

export class BackendError extends Error {
  constructor(
    readonly code: BackendErrorCode,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/** A setting of the backend that can't be used; it stops the start. */
export class BackendConfigError extends Error {
  readonly code = "ERR_BACKEND_CONFIG";
}
