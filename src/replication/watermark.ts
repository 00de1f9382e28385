/**
 * How far a peer has come with the mutations of a node: it has all of them up to the watermark, a version. Whoever has
 * the watermarks of all its peers has everything up to the least of them, and can say so to somebody who starts empty, or
 * compare what it has with another.
 */

import { versionAt } from "../model/hybrid-clock.ts";
import type { Version } from "../model/stamp.ts";
import type { Scheduler } from "../runtime/scheduler.ts";
import type { PeerOutbox } from "./peer-queue.ts";

/** From the stamp of a mutation to its place in the outbox it takes some ms; a thread that was held up, longer. */
const MARGIN_MS = 2000;
/** The outbox is asked so often at most. */
const FRESH_MS = 500;

export class OwnWatermark {
  #version: Version = versionAt(0);
  #readAtMs = Number.NEGATIVE_INFINITY;

  constructor(
    private readonly outbox: PeerOutbox,
    private readonly destination: string,
    private readonly scheduler: Scheduler,
  ) {}

  /** Every mutation of this node up to this version has been acknowledged by the peer. */
  read(): Version {
    const nowMs = this.scheduler.nowMs();
    if (Math.abs(nowMs - this.#readAtMs) < FRESH_MS) return this.#version;
    this.#readAtMs = nowMs;
    // What waits has kept its time when something newer of its key took its place.
    const { oldestAgeMs } = this.outbox.stats(this.destination);
    const version = versionAt(nowMs - oldestAgeMs - MARGIN_MS);
    // The clock may be set back; what was acknowledged stays so.
    if (version > this.#version) this.#version = version;
    return this.#version;
  }
}
