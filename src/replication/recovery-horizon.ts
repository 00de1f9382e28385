/**
 * How far back this node's knowledge reaches. A restarted node no longer knows what it had acknowledged before: an old
 * mutation that arrives now may be older than one of those. Up to the horizon, a put may therefore only replace an
 * older entry, and not create one.
 *
 * The newest received stamp is on the node's disk (`durable-clock.ts`). If the disk was lost, or is new, the peers
 * help: each sends its newest stamp in its first message after this node's start, or 0 if this node never accepted
 * anything from it. All earlier stamps of that peer are not newer than that. The first mutations wait a moment for the
 * other peers to connect, because nodes are often started together. After that, the clock of a peer that has not
 * connected is assumed to be slightly ahead.
 */

import { versionAt } from "../model/hybrid-clock.ts";
import { toVersion, type Version } from "../model/stamp.ts";
import type { Scheduler } from "../runtime/scheduler.ts";
import type { IncomingSession, IncomingSessions } from "./incoming-sessions.ts";
import type { MessageHead } from "./wire/message-head.ts";

export interface StartHorizonOptions {
  readonly scheduler: Scheduler;
  readonly maxSkewMs: number;
  /** How far ahead the clock of a peer that has not connected may be, in ms. */
  readonly unheardSkewMs: number;
  /** The newest stamp that this node made before it started. */
  readonly lastVersion: Version;
  /** The newest version acknowledged to peers before; 0 = unknown. */
  readonly seenVersion: Version;
  readonly sessions: IncomingSessions;
  /** Ids of the configured peers; null = one that was never met. */
  readonly peerIds: () => Iterable<number | null>;
}

const NOTHING_IS_KNOWN = toVersion(Number.MAX_SAFE_INTEGER);
/** How long the first message waits for the other peers, and how often that is checked. */
const PATIENCE_MS = 1000;
const LOOK_MS = 10;

export class RecoveryHorizon {
  readonly #options: StartHorizonOptions;
  /** Nothing newer was acknowledged before the start. */
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

  /** Whether mutations acknowledged from now on are all that this node has ever acknowledged above the horizon. */
  get isComplete(): boolean {
    return this.#isComplete;
  }

  /** The version up to which a disk that is new at this start lacks what this node had acknowledged. */
  get lostUntil(): Version {
    return this.#isComplete ? toVersion(Math.min(this.#latest, this.#horizon(toVersion(0)))) : this.#latest;
  }

  /** Records a message that was sent after this node's start, and returns the horizon that applies to it. */
  async horizonOf(session: IncomingSession, head: MessageHead): Promise<Version> {
    const { scheduler, maxSkewMs, lastVersion, seenVersion } = this.#options;
    if (seenVersion > 0) return toVersion(Math.max(lastVersion, seenVersion));
    if (Math.abs(head.number("clock") - scheduler.nowMs()) > maxSkewMs) {
      // Its stamps do not tell when they were made, and once its clock is corrected, its newest one will be another.
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

  /** Waits until all peers have connected, or the patience is over. */
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
