/** What a node must not forget of its peers, through any number of restarts: numbers in the outbox' file. */

import { toVersion, type Version } from "../model/stamp.ts";
import type { Outbox } from "../outbox/outbox.ts";

const SEEN = "seen";
const UNSURE = "unsure";

export class NodeState {
  #seenVersion: Version;

  constructor(private readonly kept: Pick<Outbox, "numberOf" | "keepNumber">) {
    this.#seenVersion = toVersion(kept.numberOf(SEEN) ?? 0);
  }

  /** Nothing newer was taken from peers, ever, on this data directory; 0 = that is not known. */
  get seenVersion(): Version {
    return this.#seenVersion;
  }

  /** Keeps a newer `seenVersion` before it gives control back. Throws where the disk is full. */
  noteSeen(version: number): void {
    this.kept.keepNumber(SEEN, version);
    this.#seenVersion = toVersion(version);
  }

  /**
   * What was queued up to this version may be older than what this node knew on another data directory, which it lost;
   * null = nothing was noted, the data directory is new.
   */
  get unsureVersion(): Version | null {
    const version = this.kept.numberOf(UNSURE);
    return version === null ? null : toVersion(version);
  }

  /** Keeps `unsureVersion` before it gives control back. Throws where the disk is full. */
  noteUnsure(version: number): void {
    this.kept.keepNumber(UNSURE, version);
  }

  /** Whether a destination has ever taken something from this node. */
  wasDelivered(destination: string): boolean {
    return this.kept.numberOf(delivered(destination)) !== null;
  }

  /** Keeps that a destination has taken something, before it gives control back. Throws where the disk is full. */
  noteDelivered(destination: string): void {
    this.kept.keepNumber(delivered(destination), 1);
  }
}

function delivered(destination: string): string {
  return `delivered ${destination}`;
}
