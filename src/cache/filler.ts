/** Puts what was read from the backend into the engine, unless something newer is known of its key. */

import type { Condition, Engine } from "../engine/engine.ts";
import { type CacheValue, NEVER, NO_TOMBSTONE } from "../model/entry.ts";
import { keyOf } from "../model/key.ts";
import { FILL_NODE_ID, type Stamp, type Version } from "../model/stamp.ts";
import type { RecentInvalidations } from "./recent-invalidations.ts";

export interface FillerOptions {
  readonly engine: Engine;
  readonly invalidations: RecentInvalidations;
  /** A fill failed: the engine is away. Whoever asked has his answer all the same. */
  readonly onFailure: (error: unknown) => void;
  /** Of an engine on a server, which may answer nothing, and do a fill after it was undone; left out elsewhere. */
  readonly late?: LateFills;
}

export interface LateFills {
  /** Until when a fill that was undone may still come, in ms since the Unix epoch. */
  readonly untilMs: () => number;
  /** Whether something newer than this waits for the engine: what the engine has is not what the key holds. */
  readonly hides: (name: string, stamp: Stamp) => boolean;
  /** Sees to it that what is older than this is gone in the end, and not read until then. */
  readonly keepGone: (name: string, stamp: Stamp) => Promise<void>;
}

export class Filler {
  constructor(private readonly options: FillerOptions) {}

  /**
   * `stamp`: of the moment at which the load began. Settles when the engine has the value, which is true, or does not keep
   * it: something newer is there, or it failed.
   */
  async fill(
    name: string,
    value: CacheValue,
    expiresAtMs: number,
    stamp: Stamp,
    condition: Condition | null = null,
  ): Promise<boolean> {
    const { engine, invalidations, onFailure } = this.options;
    const key = keyOf(name);
    const { bytes } = value;
    const room = () => engine.makeRoom?.(bytes.length) ?? null;
    try {
      for (let making = room(); making !== null; making = room()) await making;
      if (invalidations.covering(key, stamp) !== null) return false;
      const request = { key, source: bytes, start: 0, end: bytes.length, attributes: value, expiresAtMs, stamp };
      if ((await engine.put({ ...request, condition })) !== "stored") return false;
      const newer = invalidations.covering(key, stamp);
      if (newer === null) return true;
      await engine.delete({ key, stamp: newer, condition: null, tombstoneUntilMs: NO_TOMBSTONE });
    } catch (error) {
      onFailure(error);
    }
    return false;
  }

  /** What was filled with this version, and what is older, goes: a mutation has come that the load did not see. */
  undo(name: string, version: Version): Promise<void> {
    const stamp = { version: (version + 1) as Version, nodeId: FILL_NODE_ID };
    return this.absent(name, stamp, this.options.late?.untilMs() ?? NEVER);
  }

  /** There is none any more: what is older goes, and until `tombstoneUntilMs` none that is older comes. */
  async absent(name: string, stamp: Stamp, tombstoneUntilMs: number): Promise<void> {
    try {
      await this.options.engine.delete({ key: keyOf(name), stamp, condition: null, tombstoneUntilMs });
    } catch (error) {
      this.options.onFailure(error);
      await this.options.late?.keepGone(name, stamp);
    }
  }
}
