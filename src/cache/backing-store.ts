/** The port to what is loaded where the cache has nothing: the database, with what waits for it. */

import type { EntrySink } from "../engine/engine.ts";
import type { CacheValue } from "../model/entry.ts";
import type { Stamp } from "../model/stamp.ts";

/** How a value came that was loaded. */
export interface LoadState {
  /** The backend can't say now: this is what it said before, and its TTL is over. */
  readonly isStale: boolean;
  /** The cache has it now. */
  readonly isStored: boolean;
  /** Another request had asked for it already. */
  readonly isCollapsed: boolean;
}

/** Where a value goes that was loaded. */
export interface LoadSink extends EntrySink {
  /** Called before `begin`. */
  markLoaded(state: LoadState): void;
}

/** What came of a load. */
export type Loaded =
  | ({
      readonly kind: "found";
      readonly value: CacheValue;
      /** Absolute, in ms since the Unix epoch; `NEVER` = none. */
      readonly expiresAtMs: number;
      readonly stamp: Stamp;
    } & LoadState)
  /**
   * The backend says that there is none, or the key is not for it. `refusal`: why a write of the key is refused; left out
   * where it is not.
   */
  | { readonly kind: "absent"; readonly refusal?: string };

/** A node without a backend has none (null). */
export interface BackingStore {
  /**
   * What is behind the cache of a key that the engine doesn't have: a write that waits for the backend, or the backend's
   * own value; the engine has it by then. Rejects with `UpstreamError`: a failure is not an absence.
   */
  load(key: string, traceContext?: string): Promise<Loaded>;
  /** Loads a key again in the background. */
  refresh(key: string): void;
}
