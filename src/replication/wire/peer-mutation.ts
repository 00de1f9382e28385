/** A mutation in the form in which peers exchange it. */
import type { Stamp } from "../../model/stamp.ts";

export interface PeerPut {
  readonly kind: "put";
  readonly key: string;
  readonly value: Buffer;
  readonly contentType: string;
  /** Absolute, in ms since the Unix epoch; `NEVER` = none. */
  readonly expiresAtMs: number;
  readonly stamp: Stamp;
  /** Null = not touched; otherwise the expiry is that of this touch, which is newer than the put. */
  readonly touch: Stamp | null;
}

interface PeerDelete {
  readonly kind: "delete";
  readonly key: string;
  readonly stamp: Stamp;
}

/** Entries older than the stamp must not be served any more; the value with this stamp was not kept. */
interface PeerOutdated {
  readonly kind: "outdated";
  readonly key: string;
  readonly stamp: Stamp;
}

/** Removes all matching older entries, including those that arrive later. */
export interface PeerInvalidate {
  readonly kind: "invalidate";
  /** A glob; null = all keys. */
  readonly pattern: string | null;
  readonly stamp: Stamp;
}

export type PeerMutation = PeerPut | PeerDelete | PeerOutdated | PeerInvalidate;
