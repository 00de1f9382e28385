/** A mutation as peers tell it to each other. */
import type { Stamp, Version } from "../../engine/engine.ts";

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

const MAX_ORIGIN = 0xffff_ffff;

/** The newest stamp that is older than this one. */
export function before(stamp: Stamp): Stamp {
  if (stamp.origin > 0) return { version: stamp.version, origin: stamp.origin - 1 };
  return { version: toVersion(Math.max(0, stamp.version - 1)), origin: MAX_ORIGIN };
}

/** The one place where a number from outside becomes a version. */
export function toVersion(value: number): Version {
  return value as Version;
}
