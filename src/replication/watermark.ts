/**
 * How far a peer has received the mutations of a node: all of them up to the watermark, a version. A node with the
 * watermarks of all its peers has all mutations up to the lowest of them, so it can fill an empty node, or compare its
 * entries with those of a peer.
 */

import { versionAt } from "../model/hybrid-clock.ts";
import type { Version } from "../model/stamp.ts";
import type { Scheduler } from "../runtime/scheduler.ts";
import type { PeerOutbox } from "./peer-queue.ts";

/** A mutation reaches the outbox some ms after its stamp; later if its thread was blocked. */
const MARGIN_MS = 2000;
/** The outbox is asked at most this often. */
const FRESH_MS = 500;

export class OwnWatermark {
  #version: Version = versionAt(0);
  #readAtMs = Number.NEGATIVE_INFINITY;

  constructor(
    private readonly outbox: PeerOutbox,
    private readonly destination: string,
    private readonly scheduler: Scheduler,
  ) {}

  /** The version up to which the peer has acknowledged every mutation of this node. */
  read(): Version {
    const nowMs = this.scheduler.monotonicMs();
    if (nowMs - this.#readAtMs < FRESH_MS) return this.#version;
    this.#readAtMs = nowMs;
    // A queued mutation that was replaced by a newer one of its key keeps its time.
    const { oldestAgeMs } = this.outbox.stats(this.destination);
    const version = versionAt(this.scheduler.nowMs() - oldestAgeMs - MARGIN_MS);
    // The clock may be set back; acknowledged mutations stay acknowledged.
    if (version > this.#version) this.#version = version;
    return this.#version;
  }
}
