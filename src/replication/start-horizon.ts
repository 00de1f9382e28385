/**
 * How far back this node's knowledge goes. A node that has started anew no longer knows what it had acknowledged before:
 * an old mutation that comes now may be older than one of those. Up to the horizon, a put may therefore only take the
 * place of something older, and not fill an empty one.
 *
 * How far it had come is on its disk (`clock-keeper.ts`). Where the disk was lost, too, the peers help: every one tells
 * its newest stamp in the first message that it sends after this node's start. What any of them stamped before is not
 * newer than that. As long as one of them was not heard, its clock may be ahead by as much as is allowed.
 */
import { versionAt } from "../cache/hybrid-clock.ts";
import type { Version } from "../engine/engine.ts";
import type { Scheduler } from "../outbox/scheduler.ts";
import type { IncomingSession, IncomingSessions } from "./incoming-sessions.ts";
import type { MessageHead } from "./wire/message-head.ts";
import { toVersion } from "./wire/peer-mutation.ts";

export interface StartHorizonOptions {
  readonly scheduler: Scheduler;
  readonly maxSkewMs: number;
  /** The newest stamp that this node gave out before it started. */
  readonly lastVersion: Version;
  /** Nothing newer was acknowledged to peers before; 0 = that is not known. */
  readonly seenVersion: Version;
  readonly sessions: IncomingSessions;
  /** Ids of the configured peers; null = one that was never met. */
  readonly peerIds: () => Iterable<number | null>;
}

const NOTHING_IS_KNOWN = toVersion(Number.MAX_SAFE_INTEGER);

export class StartHorizon {
  readonly #options: StartHorizonOptions;
  readonly #latest: Version;
  #isComplete: boolean;

  constructor(options: StartHorizonOptions) {
    this.#options = options;
    this.#latest = versionAt(options.scheduler.nowMs() + options.maxSkewMs);
    this.#isComplete = options.seenVersion > 0;
  }

  /** Whether what is acknowledged from now on is all that this node has ever acknowledged above the horizon. */
  get isComplete(): boolean {
    return this.#isComplete;
  }

  /** Takes note of a message that was sent after this node's start, and says how far back nothing is known for it. */
  horizonOf(session: IncomingSession, head: MessageHead): Version {
    const { scheduler, maxSkewMs, lastVersion, seenVersion } = this.#options;
    if (seenVersion > 0) return toVersion(Math.max(lastVersion, seenVersion));
    if (Math.abs(head.number("clock") - scheduler.nowMs()) > maxSkewMs) {
      // Its stamps say nothing about when they were made, and when its clock is set, its newest one will be another.
      session.newestAtStart = null;
      return NOTHING_IS_KNOWN;
    }
    session.newestAtStart ??= toVersion(Math.min(head.number("newest"), this.#latest));
    return this.#horizon();
  }

  #horizon(): Version {
    const { sessions, peerIds, lastVersion } = this.#options;
    let horizon = lastVersion;
    for (const { newestAtStart } of sessions.all()) {
      if (newestAtStart !== null && newestAtStart > horizon) horizon = newestAtStart;
    }
    const areAllHeard = [...peerIds()].every((id) => id !== null && sessions.get(id)?.newestAtStart != null);
    if (areAllHeard) this.#isComplete = true;
    return areAllHeard || horizon > this.#latest ? horizon : this.#latest;
  }
}
