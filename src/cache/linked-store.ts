/** The engine of a cache that has something behind it: mutations with their stamps, and the pattern deletes that are newer. */
import {
  type Awaitable,
  type Condition,
  type Engine,
  type Key,
  NEVER,
  type PutOutcome,
  type Stamp,
} from "../engine/engine.ts";
import type { CacheValue } from "./mutation.ts";
import type { RecentInvalidations } from "./recent-invalidations.ts";

/** What is to be stored, with bytes of its own. */
export interface OwnEntry {
  readonly entryKey: Key;
  readonly value: CacheValue;
  /** Absolute, in ms since the Unix epoch; `NEVER` = none. */
  readonly expiresAtMs: number;
}

export class LinkedStore {
  constructor(
    private readonly engine: Engine,
    private readonly invalidations: RecentInvalidations,
    readonly nextStamp: () => Stamp,
  ) {}

  /** Puts, unless a pattern delete or a clear is newer than the stamp. */
  put(
    { entryKey: key, value, expiresAtMs }: OwnEntry,
    stamp: Stamp,
    condition: Condition | null,
  ): Awaitable<PutOutcome> {
    if (this.invalidations.covering(key, stamp) !== null) return "superseded";
    const { bytes, contentType } = value;
    const request = { key, source: bytes, start: 0, end: bytes.length, contentType, expiresAtMs, stamp, condition };
    const outcome = this.engine.put(request);
    if (outcome instanceof Promise) return outcome.then((late) => this.#unlessInvalidated(key, stamp, late));
    return this.#unlessInvalidated(key, stamp, outcome);
  }

  /** Whether a pattern delete or a clear that is newer came meanwhile; what it is about is removed then. */
  async isInvalidated(key: Key, stamp: Stamp): Promise<boolean> {
    const newer = this.invalidations.covering(key, stamp);
    if (newer === null) return false;
    await this.drop(key, newer);
    return true;
  }

  /** Removes what is not newer than the stamp. */
  async drop(key: Key, stamp: Stamp): Promise<void> {
    await this.engine.delete({ key, stamp, condition: null, tombstoneUntilMs: NEVER });
  }

  /** Removes the entry that was stored with this stamp, unless something else has its place by now. */
  async takeBack(key: Key, { version }: Stamp): Promise<void> {
    const condition: Condition = { kind: "tag-in", tags: [version] };
    await this.engine.delete({ key, stamp: this.nextStamp(), condition, tombstoneUntilMs: NEVER });
  }

  #unlessInvalidated(key: Key, stamp: Stamp, outcome: PutOutcome): Awaitable<PutOutcome> {
    if (outcome !== "stored" || this.invalidations.covering(key, stamp) === null) return outcome;
    return this.isInvalidated(key, stamp).then((isGone) => (isGone ? "superseded" : outcome));
  }
}
