/** The way of every read: a hit, a load of what is behind the cache, a reload ahead of the expiry. */

import type { Engine, EntrySink, LateReader } from "../engine/engine.ts";
import { copyKey, type Key, nameOf } from "../model/key.ts";
import type { Awaitable } from "../runtime/awaitable.ts";
import type { BackingStore, LoadSink } from "./backing-store.ts";
import type { LinkTraits } from "./commit-log.ts";
import { deliver } from "./entry-capture.ts";
import type { KeyGate } from "./key-gate.ts";
import { IGNORED, RefreshSink } from "./refresh-sink.ts";
import { refusedKey, UpstreamError } from "./upstream-error.ts";

/** When a change of a value that is only known from before is worth another try. */
const STALE_RETRY_MS = 1_000;

/** What a miss is answered by. */
export interface Behind {
  readonly traits: LinkTraits;
  readonly backingStore: BackingStore;
  readonly gate: KeyGate;
}

export class Reads {
  readonly #engine: Engine;
  /** Null = there is no backend. */
  readonly #behind: Behind | null;
  readonly #refreshAheadMs: number;
  readonly #refreshing: RefreshSink;
  readonly #nowMs: () => number;

  constructor(engine: Engine, behind: Behind | null, nowMs: () => number) {
    this.#engine = engine;
    this.#behind = behind;
    this.#nowMs = nowMs;
    this.#refreshAheadMs = behind?.traits.refreshAheadMs ?? 0;
    this.#refreshing = new RefreshSink(this.#refreshAheadMs, nowMs);
  }

  /** Hands a live entry to the sink; false = there is none. */
  get(key: Key, sink: EntrySink): Awaitable<boolean> {
    return this.#refreshAheadMs === 0 ? this.#engine.get(key, sink) : this.#getAndRefresh(key, sink);
  }

  /** As `get`, for engines that answer later: see `Engine.getLater`. */
  getLater(key: Key, reader: LateReader): boolean {
    return this.#behind === null && (this.#engine.getLater?.(key, reader) ?? false);
  }

  /** Hands what is behind the cache to the sink, when `get` found nothing; false = there is nothing there either. */
  async load(key: Key, sink: LoadSink, traceContext?: string): Promise<boolean> {
    if (this.#behind === null) return false;
    const { backingStore, gate } = this.#behind;
    const name = nameOf(key);
    if (!gate.isRecorded(key)) await gate.recorded(copyKey(key));
    const loaded = await backingStore.load(name, traceContext);
    if (loaded.kind === "absent") return false;
    sink.markLoaded(loaded);
    return deliver(loaded, sink);
  }

  /**
   * What depends on the stored entry needs it here, not in the backend alone. Gives whether there is one; null = there is
   * no backend to ask. Throws `UpstreamError` where the backend can't say. The key must stay as it is.
   */
  async fetch(key: Key, refusesStrangeKeys: boolean): Promise<boolean | null> {
    if (this.#behind === null) return null;
    if (await this.#engine.get(key, IGNORED)) return true;
    const { backingStore, gate } = this.#behind;
    await gate.recorded(key);
    const loaded = await backingStore.load(nameOf(key));
    if (loaded.kind === "found" && loaded.isStale) {
      const message = "the backend fails, and what it had before is too old to build on; try again";
      throw new UpstreamError("ERR_BACKEND_UNAVAILABLE", message, STALE_RETRY_MS, false);
    }
    if (loaded.kind === "absent" && loaded.refusal !== undefined && refusesStrangeKeys) {
      throw refusedKey(loaded.refusal);
    }
    return loaded.kind === "found";
  }

  #getAndRefresh(key: Key, sink: EntrySink): Awaitable<boolean> {
    const watching = this.#engine.answersAtOnce ? this.#refreshing : new RefreshSink(this.#refreshAheadMs, this.#nowMs);
    watching.watch(sink);
    const refresh = (found: boolean): boolean => {
      if (found && watching.isDue) this.#behind?.backingStore.refresh(nameOf(key));
      return found;
    };
    const found = this.#engine.get(key, watching);
    return found instanceof Promise ? found.then(refresh) : refresh(found);
  }
}
