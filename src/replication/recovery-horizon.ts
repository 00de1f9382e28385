/**
 * How far back this node's knowledge goes. A node that has started anew no longer knows what it had acknowledged before:
 * an old mutation that comes now may be older than one of those. Up to the horizon, a put may therefore only take the
 * place of something older, and not fill an empty one.
 *
 * How far it had come is on its disk (`clock-keeper.ts`). Where the disk was lost, or is new, the peers help: every one
 * tells its newest stamp in the first message that it sends after this node's start, or 0 where this node never had
 * anything from it. What any of them stamped before is not newer than that. What comes first waits a moment for those that
 * were not heard yet: nodes are often started together. From then on, the clock of one that was not heard is taken to be a
 * little ahead.
 */

import { versionAt } from "../model/hybrid-clock.ts";
import { toVersion, type Version } from "../model/stamp.ts";
import type { Scheduler } from "../runtime/scheduler.ts";
import type { IncomingSession, IncomingSessions } from "./incoming-sessions.ts";
import type { MessageHead } from "./wire/message-head.ts";

export interface StartHorizonOptions {
  readonly scheduler: Scheduler;
  readonly maxSkewMs: number;
  /** How far ahead the clock of a peer may be that was not heard, in ms. */
  readonly unheardSkewMs: number;
  /** The newest stamp that this node gave out before it started. */
  readonly lastVersion: Version;
  /** Nothing newer was acknowledged to peers before; 0 = that is not known. */
  readonly seenVersion: Version;
  readonly sessions: IncomingSessions;
  /** Ids of the configured peers; null = one that was never met. */
  readonly peerIds: () => Iterable<number | null>;
}

const NOTHING_IS_KNOWN = toVersion(Number.MAX_SAFE_INTEGER);
/** How long the first that is heard waits for the others, and how often it is looked whether they were heard. */
const PATIENCE_MS = 1000;
const LOOK_MS = 10;

export class RecoveryHorizon {
  readonly #options: StartHorizonOptions;
  /** Nothing that was acknowledged before the start is newer. */
  readonly #latest: Version;
  readonly #latestOfUnheard: Version;
  #isComplete: boolean;
  #patience: Promise<void> | null = null;

  constructor(options: StartHorizonOptions) {
    this.#options = options;
    const nowMs = options.scheduler.nowMs();
    this.#latest = versionAt(nowMs + options.maxSkewMs);
    this.#latestOfUnheard = versionAt(nowMs + options.unheardSkewMs);
    this.#isComplete = options.seenVersion > 0;
  }

  /** Whether what is acknowledged from now on is all that this node has ever acknowledged above the horizon. */
  get isComplete(): boolean {
    return this.#isComplete;
  }

  /** How far back a disk that is new at this start says nothing of what this node had acknowledged before. */
  get lostUntil(): Version {
    return this.#isComplete ? toVersion(Math.min(this.#latest, this.#horizon(toVersion(0)))) : this.#latest;
  }

  /** Takes note of a message that was sent after this node's start, and says how far back nothing is known for it. */
  async horizonOf(session: IncomingSession, head: MessageHead): Promise<Version> {
    const { scheduler, maxSkewMs, lastVersion, seenVersion } = this.#options;
    if (seenVersion > 0) return toVersion(Math.max(lastVersion, seenVersion));
    if (Math.abs(head.number("clock") - scheduler.nowMs()) > maxSkewMs) {
      // Its stamps say nothing about when they were made, and when its clock is set, its newest one will be another.
      session.newestAtStart = null;
      return NOTHING_IS_KNOWN;
    }
    session.newestAtStart ??= toVersion(Math.min(head.number("newest"), this.#latest));
    const horizon = this.#horizon();
    if (this.#isComplete) return horizon;
    this.#patience ??= this.#others();
    await this.#patience;
    return this.#horizon();
  }

  /** Waits until all peers were heard, or patience is over. */
  async #others(): Promise<void> {
    const { scheduler } = this.#options;
    for (let waitedMs = 0; waitedMs < PATIENCE_MS && !this.#isComplete; waitedMs += LOOK_MS) {
      await new Promise<void>((resolve) => void scheduler.after(LOOK_MS, resolve));
      this.#horizon();
    }
  }

  #horizon(own: Version = this.#options.lastVersion): Version {
    const { sessions, peerIds } = this.#options;
    let horizon = own;
    for (const { newestAtStart } of sessions.all()) {
      if (newestAtStart !== null && newestAtStart > horizon) horizon = newestAtStart;
    }
    const areAllHeard = [...peerIds()].every((id) => id !== null && sessions.get(id)?.newestAtStart != null);
    if (areAllHeard || versionAt(this.#options.scheduler.nowMs()) > this.#latest) this.#isComplete = true;
    return areAllHeard || horizon > this.#latestOfUnheard ? horizon : this.#latestOfUnheard;
  }
}
