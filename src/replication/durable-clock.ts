import { type HybridClock, VERSIONS_PER_MS } from "../model/hybrid-clock.ts";
import type { NodeState } from "./node-state.ts";
import type { PeerOutbox } from "./peer-queue.ts";
import type { RecoveryHorizon } from "./recovery-horizon.ts";

/** The stored clock is ahead by this much, so that not every mutation of a peer whose clock is ahead costs a commit. */
const AHEAD_MS = 100;
/** The same for the newest seen version: a few commits per second. */
export const SEEN_AHEAD_MS = 200;

/**
 * Persists, before a mutation is acknowledged, the newest stamp that this node has received from its peers.
 *
 * After a restart the node knows from it which mutations it cannot have had before: all newer ones. It also must not
 * make stamps older than those that it has acknowledged, or its own new writes would lose: the stamps of others may
 * have advanced its clock past its time, and its time may have been set back since.
 */
export class DurableClock {
  constructor(
    private readonly clock: HybridClock,
    private readonly outbox: Pick<PeerOutbox, "newestVersion" | "noteVersion">,
    private readonly state: Pick<NodeState, "seenVersion" | "noteSeen">,
    private readonly horizon: Pick<RecoveryHorizon, "isComplete">,
  ) {}

  /** Whether the newest received stamp is on the disk. */
  get hasKept(): boolean {
    return this.state.seenVersion > 0;
  }

  /** To be called before received mutations are acknowledged. Throws if the disk is full. */
  keep(): void {
    const { clock, outbox, state } = this;
    const newest = clock.next();
    if (this.horizon.isComplete) {
      if (newest > state.seenVersion) state.noteSeen(newest + SEEN_AHEAD_MS * VERSIONS_PER_MS);
    } else if (newest > outbox.newestVersion) {
      // Also for stamps that are not ahead of this node's time, because that may be set back before the next start.
      outbox.noteVersion(newest + AHEAD_MS * VERSIONS_PER_MS);
    }
  }
}
