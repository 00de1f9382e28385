/** What a database has, on its way into the cache; and how mutations that the load did not see undo it. */

import type { Filler } from "../cache/filler.ts";
import type { Engine } from "../engine/engine.ts";
import type { CacheValue } from "../model/entry.ts";
import { type HybridClock, VERSIONS_PER_MS } from "../model/hybrid-clock.ts";
import { FILL_NODE_ID, type Stamp, type Version } from "../model/stamp.ts";
import type { Outbox } from "../outbox/outbox.ts";
import { BoundedMap } from "../runtime/bounded-map.ts";
import type { Scheduler } from "../runtime/scheduler.ts";
import { RecentFills } from "./recent-fills.ts";

export interface CacheFillsOptions {
  readonly filler: Filler;
  readonly engine: Engine;
  readonly outbox: Pick<Outbox, "newestVersion" | "noteVersion">;
  readonly versions: HybridClock;
  readonly scheduler: Scheduler;
  readonly log: (message: string) => void;
  /** Whether the engine's entries outlive this process. */
  readonly isKeptElsewhere: boolean;
  /** Whether a client waits for a write of the key. */
  readonly isAwaited: (key: string) => boolean;
}

/** So that loads cost a commit a second at most. */
const NOTED_AHEAD_MS = 1_000;

/** How late a thread may be with a mutation that was recorded. */
export const LATE_MS = 5_000;
/** More than can be written while a thread is late. */
const MOST_WRITES = 10_000;

export class CacheFills {
  /**
   * Stamps of the last writes by key that the database has. A thread may be late with an older one: what is loaded now is
   * cached with the stamp of the newer, and so is not replaced by it.
   */
  readonly written = new BoundedMap<string, Stamp>(MOST_WRITES);
  readonly #options: CacheFillsOptions;
  readonly #recent = new RecentFills();

  constructor(options: CacheFillsOptions) {
    this.#options = options;
  }

  /**
   * Caches what the database has, or will have, with the stamp of its write, where that is known: a newer one wins over it,
   * an older one that is late does not. Where the engine has forgotten that write, it is a copy of the moment of `version`.
   */
  async fill(
    key: string,
    value: CacheValue,
    expiresAtMs: number,
    version: Version,
    written: Stamp | null = this.written.get(key) ?? null,
  ): Promise<void> {
    const { filler, engine } = this.#options;
    this.note(key, version);
    if (written !== null) {
      const isKept = await filler.fill(key, value, expiresAtMs, written);
      // A server forgets nothing of that kind: it has something newer, or did not answer.
      if (isKept || !engine.refusesForgotten) return;
    }
    await filler.fill(key, value, expiresAtMs, { version, nodeId: FILL_NODE_ID });
  }

  /** To be called before a fill, so that mutations that it did not see can undo it. `seen`: the newest write that it saw. */
  note(key: string, version: Version, seen?: Version): void {
    this.#keepVersion(version);
    if (this.#options.isAwaited(key)) this.#recent.pin(key, version, seen);
    else this.#recent.add(key, version, seen);
  }

  /** `before`: fills that are older than this saw the change, or give way to it by themselves. */
  undo(key: string, before: number): Promise<void> | undefined {
    const filled = this.#recent.take(key, before === 0 ? undefined : before);
    if (filled <= before) return;
    const { versions, filler, engine } = this.#options;
    // A load that begins now is newer than what is undone.
    versions.observe(filled + 1);
    const gone = filler.undo(key, filled);
    return engine.answersAtOnce ? undefined : gone;
  }

  /** A delete that was read is in force: what is older, and late, does not come after it. */
  absent(key: string, deleted: Stamp): Promise<void> {
    const { filler, scheduler } = this.#options;
    return filler.absent(key, deleted, scheduler.nowMs() + LATE_MS);
  }

  /** What is filled into a server outlives this process: later stamps must pass it, also where the clock is set back. */
  #keepVersion(version: Version): void {
    const { isKeptElsewhere, outbox, log } = this.#options;
    if (!isKeptElsewhere || version <= outbox.newestVersion) return;
    try {
      outbox.noteVersion(version + NOTED_AHEAD_MS * VERSIONS_PER_MS);
    } catch (error) {
      log(`the version of a loaded value could not be noted: ${String(error)}`);
    }
  }
}
