import { type HybridClock, VERSIONS_PER_MS, versionAt } from "../cache/hybrid-clock.ts";
import type { Scheduler } from "../outbox/scheduler.ts";
import type { PeerOutbox } from "./peer-queue.ts";
import type { StartHorizon } from "./start-horizon.ts";

/** What is kept of the clock is so much ahead, so that not every mutation of a peer whose clock is ahead costs a commit. */
const AHEAD_MS = 100;
/** The same for what was seen: some commits a second. */
export const SEEN_AHEAD_MS = 200;

/**
 * Keeps on the disk, before it is acknowledged, how far a node has come with what its peers stamped.
 *
 * After a restart it knows by this what it can't have had before: everything that is newer. And where the stamps of others
 * have brought its clock ahead of its own time, it must not stamp what is older than what it has acknowledged: its own
 * writes would be the older ones.
 */
export class ClockKeeper {
  constructor(
    private readonly clock: HybridClock,
    private readonly outbox: Pick<PeerOutbox, "newestVersion" | "noteVersion" | "seenVersion" | "noteSeen">,
    private readonly scheduler: Scheduler,
    private readonly horizon: Pick<StartHorizon, "isComplete">,
  ) {}

  /** To be called before what was seen is acknowledged. Throws where the disk is full. */
  keep(): void {
    const { clock, outbox, scheduler } = this;
    const newest = clock.next();
    if (this.horizon.isComplete && newest > outbox.seenVersion)
      outbox.noteSeen(newest + SEEN_AHEAD_MS * VERSIONS_PER_MS);
    if (newest <= outbox.newestVersion || newest <= versionAt(scheduler.nowMs() + 1)) return;
    outbox.noteVersion(newest + AHEAD_MS * VERSIONS_PER_MS);
  }
}
