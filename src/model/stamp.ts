/** Stamps order all mutations: the newer one wins, however it arrives. */

/**
 * A hybrid logical clock stamp: (ms since 2024-01-01 UTC) × 4096 + counter, a safe integer.
 */
export type Version = number & { readonly __brand: "Version" };

/**
 * The node id of what was read from a database: a copy, and no mutation. An engine that refuses what is forgotten lets a
 * mutation take its place also where the read began later: the database may not have had the mutation yet.
 */
export const FILL_NODE_ID = 0;

/** Who made a mutation, and when. The newer (version, node id) wins, however it arrives. */
export interface Stamp {
  readonly version: Version;
  /** The node that made the version, as an unsigned 32-bit number; 0 where the node has no peers. */
  readonly nodeId: number;
}

/** Whether (version, node id) of `a` is newer than that of `b`. */
export function isNewer(a: Stamp, b: Stamp): boolean {
  return a.version !== b.version ? a.version > b.version : a.nodeId > b.nodeId;
}

export function isSame(a: Stamp, b: Stamp): boolean {
  return a.version === b.version && a.nodeId === b.nodeId;
}

export const MAX_NODE_ID = 0xffff_ffff;

/** The newest stamp that is older than this one. */
export function before(stamp: Stamp): Stamp {
  if (stamp.nodeId > 0) return { version: stamp.version, nodeId: stamp.nodeId - 1 };
  return { version: toVersion(Math.max(0, stamp.version - 1)), nodeId: MAX_NODE_ID };
}

/** A number from outside as a version: from a disk, a message, or Redis. */
export function toVersion(value: number): Version {
  return value as Version;
}
