/**
 * The states of a link.
 * - `connecting`: no hello was answered yet.
 * - `up`: native protocol.
 * - `legacy`: reached by the original's plain calls.
 * - `down`: calls fail.
 * - `self`: the address is this node's own.
 */
export type PeerState = "connecting" | "up" | "legacy" | "down" | "self";

/** The state of one link, and its counts since the start. */
export class LinkStats {
  state: PeerState = "connecting";
  sinceMs: number;
  lastError = "";
  /** A problem for the operator to solve; empty = none. */
  problem = "";
  /** The peer's clock minus ours, in ms. */
  skewMs = 0;
  mutations = 0;
  batches = 0;
  bytes = 0;
  failures = 0;
  /** Mutations of ours that lost to newer ones there. */
  lost = 0;
  /** Mutations of ours with stamps too far ahead of the peer's clock. */
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
