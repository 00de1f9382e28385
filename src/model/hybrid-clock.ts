import { lock, unlock } from "../runtime/shared-lock.ts";
import type { Version } from "./stamp.ts";

/** Versions count from here: 2024-01-01 UTC, in ms since the Unix epoch. */
export const VERSION_EPOCH_MS = Date.UTC(2024, 0, 1);
/** Versions in a millisecond, before they run on into the next. */
export const VERSIONS_PER_MS = 4096;

const TWO_32 = 2 ** 32;
const LOCK = 0;
const LAST_LO = 1;
const LAST_HI = 2;
const WORDS = 3;

/**
 * A hybrid logical clock that all threads of a node share: stamps follow the wall clock, grow strictly whatever it does,
 * and pass every stamp that the node has seen.
 *
 * Source: S. Kulkarni et al., "Logical Physical Clocks" (OPODIS 2014), figure 5; physical and logical part are one
 * number here, so that a full counter runs on into the next millisecond.
 */
export class HybridClock {
  private readonly words: Int32Array;

  /** Makes a clock. `nowMs` gives ms since the Unix epoch. */
  static create(nowMs: () => number): HybridClock {
    return new HybridClock(new SharedArrayBuffer(WORDS * 4), nowMs);
  }

  /** Uses the clock that another thread made. */
  static attach(buffer: SharedArrayBuffer, nowMs: () => number): HybridClock {
    return new HybridClock(buffer, nowMs);
  }

  private constructor(
    /** Hand this to other threads, for `attach`. */
    readonly buffer: SharedArrayBuffer,
    private readonly nowMs: () => number,
  ) {
    this.words = new Int32Array(buffer);
  }

  /** A stamp that is newer than all before, of every thread. */
  next(): Version {
    const physical = versionAt(this.nowMs());
    lock(this.words, LOCK);
    const next = Math.max(physical, this.last() + 1);
    this.remember(next);
    unlock(this.words, LOCK);
    return next as Version;
  }

  /** Later stamps will be newer than this one, which came from elsewhere. */
  observe(version: number): void {
    lock(this.words, LOCK);
    if (version > this.last()) this.remember(version);
    unlock(this.words, LOCK);
  }

  /** The newest stamp that was made or seen. */
  newest(): number {
    lock(this.words, LOCK);
    const newest = this.last();
    unlock(this.words, LOCK);
    return newest;
  }

  private last(): number {
    return (this.words[LAST_HI] ?? 0) * TWO_32 + ((this.words[LAST_LO] ?? 0) >>> 0);
  }

  private remember(version: number): void {
    this.words[LAST_LO] = version;
    this.words[LAST_HI] = Math.floor(version / TWO_32);
  }
}

/** The first version of a millisecond (since the Unix epoch). */
export function versionAt(timeMs: number): Version {
  return (Math.max(0, Math.floor(timeMs) - VERSION_EPOCH_MS) * VERSIONS_PER_MS) as Version;
}
