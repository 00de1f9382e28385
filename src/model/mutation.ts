/** A change of the cache as it goes to the backend and the peers, and comes from them. */
import type { CacheValue } from "./entry.ts";
import type { Stamp } from "./stamp.ts";

interface Common {
  readonly stamp: Stamp;
  /** It came from a peer that speaks the plain calls (`replicated=true`): it goes neither to the backend nor to peers. */
  readonly isReplicated: boolean;
  /** W3C trace context of the request. */
  readonly traceContext?: string | undefined;
}

export interface PutMutation extends Common {
  readonly kind: "put";
  readonly key: string;
  readonly value: CacheValue;
  /** Absolute, in ms since the Unix epoch; `NEVER` = none. */
  readonly expiresAtMs: number;
  /**
   * Null = a put. Else only the expiry is new, since this stamp: the put that has the mutation's own stamp was touched. Of
   * two touches of one put the newer counts; whatever is newer than the put knows nothing of either.
   */
  readonly touch: Stamp | null;
}

interface DeleteMutation extends Common {
  readonly kind: "delete";
  readonly key: string;
}

/** Everything that matches and is older goes, also what comes later and is older. */
export interface InvalidateMutation extends Common {
  readonly kind: "invalidate";
  /** A glob; null = all keys. */
  readonly pattern: string | null;
}

export type Mutation = PutMutation | DeleteMutation | InvalidateMutation;
