/** Values that the backend is known to have had, kept for a while after their TTL: what is served when it fails. */

import type { Loaded } from "../cache/backing-store.ts";
import { EntryCapture } from "../cache/entry-capture.ts";
import { Filler } from "../cache/filler.ts";
import type { RecentInvalidations } from "../cache/recent-invalidations.ts";
import type { Engine } from "../engine/engine.ts";
import { NEVER } from "../model/entry.ts";
import type { Glob } from "../model/glob.ts";
import { keyOf } from "../model/key.ts";
import type { Stamp } from "../model/stamp.ts";

export interface StaleValuesOptions {
  /** Of their own: in the node's engine they would take the place of live entries. */
  readonly engine: Engine;
  /** How long after its TTL a value is kept. */
  readonly keepMs: number;
  /** How long after a delete an older write may still come, in ms. */
  readonly lateMs: number;
  readonly invalidations: RecentInvalidations;
  readonly nowMs: () => number;
  readonly onFailure: (error: unknown) => void;
}

export class StaleValues {
  /** How many were served. */
  answers = 0;
  readonly #filler: Filler;

  constructor(private readonly options: StaleValuesOptions) {
    this.#filler = new Filler(options);
  }

  keep(...[key, value, expiresAtMs, stamp]: Parameters<Filler["fill"]>): Promise<boolean> {
    return this.#filler.fill(key, value, expiresAtMs === NEVER ? NEVER : expiresAtMs + this.options.keepMs, stamp);
  }

  drop(key: string, stamp: Stamp): Promise<void> {
    return this.#filler.absent(key, stamp, this.options.nowMs() + this.options.lateMs);
  }

  /** `glob` null = all keys. */
  async invalidate(glob: Glob | null, stamp: Stamp): Promise<void> {
    const { engine, onFailure } = this.options;
    try {
      await (glob === null ? engine.clear(stamp) : engine.deleteMatching(glob, stamp));
    } catch (error) {
      onFailure(error);
    }
  }

  /** Null = none is kept. It is not stale where its TTL goes on and the cache had no room for it. */
  async get(key: string): Promise<Loaded | null> {
    const { engine, keepMs, invalidations, nowMs } = this.options;
    const capture = new EntryCapture();
    if (!(await engine.get(keyOf(key), capture))) return null;
    const { value, expiresAtMs, stamp } = capture.entry();
    // A pattern delete may be on its way through the engine.
    if (invalidations.covering(keyOf(key), stamp) !== null) return null;
    const endMs = expiresAtMs === NEVER ? NEVER : expiresAtMs - keepMs;
    const isStale = endMs !== NEVER && endMs <= nowMs();
    if (isStale) this.answers += 1;
    return { kind: "found", value, expiresAtMs: endMs, stamp, isStale, isStored: false, isCollapsed: false };
  }
}
