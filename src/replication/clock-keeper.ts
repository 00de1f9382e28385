import { type HybridClock, VERSIONS_PER_MS, versionAt } from "../cache/hybrid-clock.ts";
import type { Scheduler } from "../outbox/scheduler.ts";
import type { PeerOutbox } from "./peer-queue.ts";

/** What is kept is so much ahead, so that not every mutation of a peer whose clock is ahead costs a commit. */
const AHEAD_MS = 100;

/**
 * Keeps the node's clock on the disk while the stamps of others have brought it ahead of its own time. After a restart it
 * must not stamp what is older than what it has acknowledged: its own writes would be the older ones.
 */
export class ClockKeeper {
  constructor(
    private readonly clock: HybridClock,
    private readonly outbox: Pick<PeerOutbox, "newestVersion" | "noteVersion">,
    private readonly scheduler: Scheduler,
  ) {}

  /** To be called before what was seen is acknowledged. Throws where the disk is full. */
  keep(): void {
    const newest = this.clock.next();
    if (newest <= this.outbox.newestVersion || newest <= versionAt(this.scheduler.nowMs() + 1)) return;
    this.outbox.noteVersion(newest + AHEAD_MS * VERSIONS_PER_MS);
  }
}
