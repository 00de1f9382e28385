import { type HybridClock, VERSIONS_PER_MS } from "../model/hybrid-clock.ts";
import type { NodeState } from "./node-state.ts";
import type { PeerOutbox } from "./peer-queue.ts";
import type { RecoveryHorizon } from "./recovery-horizon.ts";

/** What is kept of the clock is so much ahead, so that not every mutation of a peer whose clock is ahead costs a commit. */
const AHEAD_MS = 100;
/** The same for what was seen: some commits a second. */
export const SEEN_AHEAD_MS = 200;

/**
 * Keeps on the disk, before it is acknowledged, how far a node has come with what its peers stamped.
 *
 * After a restart it knows by this what it can't have had before: everything that is newer. And it must not stamp what is
 * older than what it has acknowledged, its own writes would be the older ones: the stamps of others may have brought its
 * clock ahead of its time, and its time may have been set back since.
 */
export class DurableClock {
  constructor(
    private readonly clock: HybridClock,
    private readonly outbox: Pick<PeerOutbox, "newestVersion" | "noteVersion">,
    private readonly state: Pick<NodeState, "seenVersion" | "noteSeen">,
    private readonly horizon: Pick<RecoveryHorizon, "isComplete">,
  ) {}

  /** Whether it is on the disk how far this node has come. */
  get hasKept(): boolean {
    return this.state.seenVersion > 0;
  }

  /** To be called before what was seen is acknowledged. Throws where the disk is full. */
  keep(): void {
    const { clock, outbox, state } = this;
    const newest = clock.next();
    if (this.horizon.isComplete) {
      if (newest > state.seenVersion) state.noteSeen(newest + SEEN_AHEAD_MS * VERSIONS_PER_MS);
    } else if (newest > outbox.newestVersion) {
      // Also what is not ahead of this node's time: that may be set back before the next start.
      outbox.noteVersion(newest + AHEAD_MS * VERSIONS_PER_MS);
    }
  }
}
