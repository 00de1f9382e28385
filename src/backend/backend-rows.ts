/** What of the cache's mutations is for the database: which keys, and which of their mutations. */

import type { BackendConfig } from "../config/config.ts";
import { Glob } from "../model/glob.ts";
import type { Mutation } from "../model/mutation.ts";
import { type OutboxRow, rowOf } from "../outbox/entry.ts";
import { keyMatches } from "./kept-entry.ts";

/** The backend's queue in the outbox. */
export const BACKEND = "backend";

export class BackendRows {
  readonly #globs: readonly Glob[];

  /** Throws `InvalidPatternError` for a glob that can't be used. */
  constructor(private readonly config: Pick<BackendConfig, "keys" | "writeMode" | "deletes">) {
    this.#globs = config.keys.map((text) => Glob.parse(text));
  }

  /** Whether a key is one of those that the database is for. */
  concerns(key: string): boolean {
    return this.#globs.length === 0 || this.#globs.some((glob) => keyMatches(glob, key));
  }

  /** What the database has to get of a mutation; null = nothing. */
  rowOf(mutation: Mutation): OutboxRow | null {
    const { writeMode, deletes } = this.config;
    if (mutation.isReplicated === true || writeMode === "none") return null;
    const isForIt = mutation.kind === "put" || (mutation.kind === "delete" && deletes);
    return isForIt && this.concerns(mutation.key) ? rowOf(BACKEND, mutation) : null;
  }
}
