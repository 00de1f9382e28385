/** A change of the cache: the one form that threads, the outbox, the backend and the peers hand on. */
import { type CacheValue, NEVER } from "./entry.ts";
import { isNewer, isSame, type Stamp } from "./stamp.ts";

interface Common {
  /** Of a touch: that of the put which was touched. */
  readonly stamp: Stamp;
  /** W3C trace context of the request. */
  readonly traceContext?: string | undefined;
  /**
   * It came from a peer that speaks the plain calls (`replicated=true`): it goes neither to the backend nor to peers. It
   * says where a mutation is going, so it is kept nowhere.
   */
  readonly isReplicated?: boolean;
}

export interface PutMutation extends Common {
  readonly kind: "put";
  readonly key: string;
  readonly value: CacheValue;
  /** Absolute, in ms since the Unix epoch; `NEVER` = none. */
  readonly expiresAtMs: number;
}

/**
 * The put with this stamp has a newer expiry. Of two touches of one put the newer counts; whatever is newer than the put
 * knows nothing of either.
 */
export interface TouchMutation extends Common {
  readonly kind: "touch";
  readonly key: string;
  /** Of the put. */
  readonly value: CacheValue;
  readonly expiresAtMs: number;
  /** Of the touch itself. */
  readonly touch: Stamp;
}

interface DeleteMutation extends Common {
  readonly kind: "delete";
  readonly key: string;
}

/** What is older than the stamp is not to be served any more: of what has this stamp, the value was not kept. */
interface OutdatedMutation extends Common {
  readonly kind: "outdated";
  readonly key: string;
}

/** Everything that matches and is older goes, also what comes later and is older. */
export interface InvalidateMutation extends Common {
  readonly kind: "invalidate";
  /** A glob; null = all keys. */
  readonly pattern: string | null;
}

/** Those that bring a value. */
export type ValueMutation = PutMutation | TouchMutation;
export type KeyMutation = ValueMutation | DeleteMutation | OutdatedMutation;
export type Mutation = KeyMutation | InvalidateMutation;

export function hasValue(mutation: Mutation): mutation is ValueMutation {
  return mutation.kind === "put" || mutation.kind === "touch";
}

/** 0 where it brings none. */
export function valueBytes(mutation: Mutation): number {
  return hasValue(mutation) ? mutation.value.bytes.length : 0;
}

/** Whether a mutation says all that another of its key says, and more: the newer stamp, and of one put the newer touch. */
export function replaces(mutation: Mutation, other: Mutation): boolean {
  if (!isSame(mutation.stamp, other.stamp)) return isNewer(mutation.stamp, other.stamp);
  return mutation.kind === "touch" && (other.kind !== "touch" || isNewer(mutation.touch, other.touch));
}

/** A put and nothing else: callers have objects that are more than one. */
export function alone(mutation: Mutation): Mutation {
  if (mutation.kind !== "put") return mutation;
  const { kind, key, value, expiresAtMs, stamp, traceContext, isReplicated = false } = mutation;
  return { kind, key, value, expiresAtMs, stamp, traceContext, isReplicated };
}

/** The same without its value. */
export function withoutValue(mutation: Mutation): Mutation {
  return hasValue(mutation) ? { kind: "outdated", key: mutation.key, stamp: mutation.stamp } : mutation;
}

/** What is left to be told of a mutation: what is older than an expired put must go, the put itself ends by itself. */
export function asOf(mutation: Mutation, nowMs: number): Mutation {
  const isOver = mutation.kind === "put" && mutation.expiresAtMs !== NEVER && mutation.expiresAtMs <= nowMs;
  return isOver ? withoutValue(mutation) : mutation;
}
