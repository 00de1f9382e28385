/**
 * What stands behind the cache of a node, as the cache sees it: the database, the peers, and the outbox between.
 *
 * All of that lives once per node, in the main thread. An HTTP thread reaches it through messages, a node of one thread
 * by direct calls; both keep this contract.
 */

import type { Completion } from "../model/completion.ts";
import type { CacheValue } from "../model/entry.ts";
import type { Mutation } from "../model/mutation.ts";
import type { Stamp } from "../model/stamp.ts";
import type { Awaitable } from "../runtime/awaitable.ts";
import type { MetricFamily } from "../telemetry/metric-family.ts";
import type { LoadState } from "./cache.ts";

/** What came of a load. */
export type Loaded =
  | ({
      readonly kind: "found";
      readonly value: CacheValue;
      /** Absolute, in ms since the Unix epoch; `NEVER` = none. */
      readonly expiresAtMs: number;
      readonly stamp: Stamp;
    } & LoadState)
  /**
   * The backend says that there is none, or the key is not for it. `refusal`: why a write of the key is refused; left out
   * where it is not.
   */
  | { readonly kind: "absent"; readonly refusal?: string };

/** What a cache needs to know of what is behind it. */
export interface UpstreamTraits {
  /** Whether a miss is worth a `load`: there is a backend. */
  readonly loads: boolean;
  /** Deletes reach the backend, too. */
  readonly deletes: boolean;
  /** How long a delete has to be remembered against older puts that may still come, in ms. */
  readonly tombstoneMs: number;
  /** An entry that is read with less than this left of its life is to be reloaded, in ms; 0 = none is. */
  readonly refreshAheadMs: number;
}

export interface Upstream extends UpstreamTraits {
  /**
   * Takes note of a mutation, and of what has to reach the backend and the peers durably. Settles when that is so: the
   * client may be answered then. Rejects with `UpstreamError`; then the mutation is kept nowhere, unless the error says so.
   */
  record(mutation: Mutation): Promise<void>;

  /** As `record`, without a promise. True = there was nothing to wait for, and the completion is not told. */
  recordLater(mutation: Mutation, completion: Completion<void>): boolean;

  /**
   * What is behind the cache of a key that the engine doesn't have: a write that waits for the backend, or the backend's
   * own value; the engine has it by then. Rejects with `UpstreamError`: a failure is not an absence.
   */
  load(key: string, traceContext?: string): Promise<Loaded>;

  /** Loads a key again in the background. */
  refresh(key: string): void;
}

/** Mutations that an engine that may be away could not be told. */
export interface PendingPort {
  /**
   * Keeps a mutation, which is recorded already, until the engine has it. Settles when that is durable; rejects with
   * `UpstreamError`.
   */
  keepPending(mutation: Mutation): Promise<void>;

  /** What of a key waits for the engine; null = nothing. */
  pendingOf(key: string): Promise<Mutation | null>;

  /** The engine may have done an unrecorded mutation with this stamp, of which nobody was told that it is done. */
  doubt(key: string, stamp: Stamp): void;
}

/** A request between nodes: `POST /api/replication`. */
export interface PeerRequest {
  readonly body: Buffer;
  /** The header as it came; null = none. */
  readonly authorization: string | null;
  readonly remoteAddress: string;
}

export interface PeerResponse {
  readonly status: number;
  readonly mediaType: string;
  readonly body: Buffer;
}

/** How a part of the node does. */
export interface PartState {
  readonly status: "ok" | "degraded" | "unavailable";
  /** What an operator needs to know; empty when all is well. */
  readonly detail: string;
  /** Shown beside it. */
  readonly facts: Readonly<Record<string, unknown>>;
}

export interface PartHealth extends PartState {
  /** When it came to be so, in ms since the Unix epoch. */
  readonly sinceMs: number;
}

/** What operators and peers ask for and do; all of it asks the main thread. */
export interface UpstreamAdmin {
  /** The parts behind the cache, by the names that `/health` shows. */
  health(): Awaitable<Readonly<Record<string, PartHealth>>>;
  /** Their members of `/api/stats`. */
  stats(): Awaitable<Readonly<Record<string, unknown>>>;
  /** Their families of `/metrics`. */
  metrics(): Awaitable<readonly MetricFamily[]>;
  /** Null = this node has no peers. */
  replicate(request: PeerRequest): Promise<PeerResponse | null>;
  deadLetters(afterId: number, limit: number): Promise<readonly DeadWrite[]>;
  /** Gives how many there were; ids `null` = all. */
  retryDead(ids: readonly number[] | null): Promise<number>;
  dropDead(ids: readonly number[] | null): Promise<number>;
}

/** A write that the backend refuses for good. */
export interface DeadWrite {
  readonly id: number;
  readonly key: string;
  readonly kind: "put" | "delete";
  readonly valueBytes: number;
  readonly contentType: string;
  readonly attempts: number;
  readonly reason: string;
  readonly queuedAtMs: number;
}

/**
 * - `ERR_OUTBOX_FULL`: there is no room for the write; it is kept nowhere.
 * - `ERR_BACKEND_TIMEOUT`, `ERR_BACKEND_UNAVAILABLE`, `ERR_BACKEND_ANSWER`, `ERR_BACKEND_BUSY`,
 *   `ERR_BACKEND_BREAKER_OPEN`: a load failed, or a write through did; the write is written later then (`isKept`).
 * - `ERR_BACKEND_KEY`: the key can't be one of the backend's; the write is kept nowhere.
 * - `ERR_BACKEND_REFUSED`: the backend refuses this key or value for good; it is kept nowhere.
 */
export type UpstreamErrorCode =
  | "ERR_OUTBOX_FULL"
  | "ERR_BACKEND_TIMEOUT"
  | "ERR_BACKEND_UNAVAILABLE"
  | "ERR_BACKEND_ANSWER"
  | "ERR_BACKEND_BUSY"
  | "ERR_BACKEND_BREAKER_OPEN"
  | "ERR_BACKEND_KEY"
  | "ERR_BACKEND_REFUSED";

/** A write of a key that can't be one of the backend's. */
export function refusedKey(refusal: string): UpstreamError {
  return new UpstreamError("ERR_BACKEND_KEY", refusal, 0, false);
}

export class UpstreamError extends Error {
  constructor(
    readonly code: UpstreamErrorCode,
    message: string,
    readonly retryAfterMs: number,
    /** The write waits in the outbox all the same. */
    readonly isKept: boolean,
  ) {
    super(message);
  }
}
