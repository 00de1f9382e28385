/** The port for what operators and peers ask of a node: all of it is answered by the main thread. */

import type { Awaitable } from "../runtime/awaitable.ts";
import type { MetricFamily } from "../telemetry/metric-family.ts";

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

/** A node with nothing behind its cache has none (null). */
export interface OperatorPort {
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
