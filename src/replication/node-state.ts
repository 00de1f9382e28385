/** The state about peers that survives restarts: numbers in the file of the outbox. */

import { toVersion, type Version } from "../model/stamp.ts";
import type { Outbox } from "../outbox/outbox.ts";

const SEEN = "seen";
const UNSURE = "unsure";

export class NodeState {
  #seenVersion: Version;

  constructor(private readonly kept: Pick<Outbox, "numberOf" | "keepNumber">) {
    this.#seenVersion = toVersion(kept.numberOf(SEEN) ?? 0);
  }

  /** The newest version ever accepted from peers on this data directory; 0 = unknown. */
  get seenVersion(): Version {
    return this.#seenVersion;
  }

  /** Persists a newer `seenVersion` before it returns. Throws if the disk is full. */
  noteSeen(version: number): void {
    this.kept.keepNumber(SEEN, version);
    this.#seenVersion = toVersion(version);
  }

  /**
   * Mutations queued up to this version may be older than those that this node knew on a lost data directory; null =
   * nothing was noted, the data directory is new.
   */
  get unsureVersion(): Version | null {
    const version = this.kept.numberOf(UNSURE);
    return version === null ? null : toVersion(version);
  }

  /** Persists `unsureVersion` before it returns. Throws if the disk is full. */
  noteUnsure(version: number): void {
    this.kept.keepNumber(UNSURE, version);
  }

  /** Whether a destination has ever accepted a mutation from this node. */
  wasDelivered(destination: string): boolean {
    return this.kept.numberOf(delivered(destination)) !== null;
  }

  /** Persists that a destination has accepted a mutation, before it returns. Throws if the disk is full. */
  noteDelivered(destination: string): void {
    this.kept.keepNumber(delivered(destination), 1);
  }
}

function delivered(destination: string): string {
  return `delivered ${destination}`;
}
