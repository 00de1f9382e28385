/** A mutation as peers tell it to each other. */
import type { Stamp } from "../../model/stamp.ts";

export interface PeerPut {
  readonly kind: "put";
  readonly key: string;
  readonly value: Buffer;
  readonly contentType: string;
  /** Absolute, in ms since the Unix epoch; `NEVER` = none. */
  readonly expiresAtMs: number;
  readonly stamp: Stamp;
  /** Null = as it was put; else the expiry is of this touch, which is newer than the put. */
  readonly touch: Stamp | null;
}

interface PeerDelete {
  readonly kind: "delete";
  readonly key: string;
  readonly stamp: Stamp;
}

/** What is older than the stamp is not to be served any more: of what has this stamp, the value was not kept. */
interface PeerOutdated {
  readonly kind: "outdated";
  readonly key: string;
  readonly stamp: Stamp;
}

/** Everything that matches and is older goes, also what comes later and is older. */
export interface PeerInvalidate {
  readonly kind: "invalidate";
  /** A glob; null = all keys. */
  readonly pattern: string | null;
  readonly stamp: Stamp;
}

export type PeerMutation = PeerPut | PeerDelete | PeerOutdated | PeerInvalidate;
