/**
 * - `connecting`: no hello was answered yet.
 * - `up`: native link.
 * - `legacy`: reached by the plain calls.
 * - `down`: it fails.
 * - `self`: it is this node.
 */
export type PeerState = "connecting" | "up" | "legacy" | "down" | "self";

/** Counts of one link since the start, and how it stands. */
export class LinkStats {
  state: PeerState = "connecting";
  sinceMs: number;
  lastError = "";
  /** What an operator has to set right; empty = nothing. */
  problem = "";
  /** Clock of the peer minus ours, in ms. */
  skewMs = 0;
  mutations = 0;
  batches = 0;
  bytes = 0;
  failures = 0;
  /** Mutations of ours that met something newer there. */
  lost = 0;
  /** Mutations of ours whose stamps were too far ahead of the peer's clock. */
  refusedByPeer = 0;

  constructor(nowMs: number) {
    this.sinceMs = nowMs;
  }

  enter(state: PeerState, nowMs: number): void {
    if (state !== "down") this.lastError = "";
    if (state === this.state) return;
    this.state = state;
    this.sinceMs = nowMs;
  }

  failed(reason: string, nowMs: number): void {
    this.failures += 1;
    this.enter("down", nowMs);
    this.lastError = reason;
  }

  note(reason: string): void {
    this.lastError = reason;
  }

  sent(mutations: number, bytes: number): void {
    this.batches += 1;
    this.mutations += mutations;
    this.bytes += bytes;
  }
}
