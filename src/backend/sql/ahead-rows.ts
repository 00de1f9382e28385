/**
 * Rows whose versions lie ahead of this node's clock: the clock was set back, the data directory is new, or another program
 * wrote them. They must not keep acknowledged writes out of the database.
 *
 * Such a version is learned, so that the next stamps pass it, unless it is a day or more ahead. A write that was stamped
 * before that goes out once more, with a ceiling: a row beyond it gives way. Rows that this node wrote itself after it had
 * learned lie ahead, too, and do not.
 */
import { type HybridClock, VERSIONS_PER_MS, versionAt } from "../../model/hybrid-clock.ts";
import type { BackendRow, RowResult } from "../backend.ts";

export interface AheadRowsOptions {
  readonly versions: Pick<HybridClock, "newest" | "observe">;
  readonly nowMs: () => number;
  /** A row gives way that lies so far ahead of the clock. */
  readonly toleranceMs: number;
}

/** Clocks of servers that are looked after differ by less. */
export const TOLERANCE_MS = 1_000;
export const DAY_MS = 24 * 3_600_000;
/** How long the last such row is told. */
const TOLD_MS = 10 * 60_000;

export class AheadRows {
  /** The newest version that was learned from a row. */
  #learned = 0;
  #newest = 0;
  #lastKey = "";
  #lastMs = Number.NEGATIVE_INFINITY;
  #replaced = 0;
  #notWritten = 0;

  constructor(private readonly options: AheadRowsOptions) {}

  /** For an operator; empty = nothing. */
  get problem(): string {
    const isOver = this.options.nowMs() - this.#lastMs >= TOLD_MS;
    if (this.#newest === 0 || (isOver && this.#notWritten === 0)) return "";
    const aheadMs = Math.round((this.#newest - versionAt(this.options.nowMs())) / VERSIONS_PER_MS);
    const counts = `${this.#replaced} were replaced, ${this.#notWritten} kept a write out`;
    return `the database holds rows with versions ahead of this node's clock, such as ${JSON.stringify(this.#lastKey)} (the most by ${Math.max(0, aheadMs)} ms): ${counts}; set the clock right, or find out who writes such versions`;
  }

  /** Rows beyond this give way to `replaceable`. */
  ceiling(): number {
    return versionAt(this.options.nowMs() + this.options.toleranceMs);
  }

  /** Learns from the results of `rows`, and gives those that are to be written once more, under the `ceiling`. */
  replaceable(rows: readonly BackendRow[], results: ReadonlyMap<string, RowResult>, ceiling: number): BackendRow[] {
    const newestKnown = this.options.versions.newest();
    const dayAhead = versionAt(this.options.nowMs() + DAY_MS);
    const plainlyAhead = versionAt(this.options.nowMs() + TOLERANCE_MS);
    const again: BackendRow[] = [];
    let learned = this.#learned;
    for (const row of rows) {
      const result = results.get(row.key);
      if (result?.kind !== "superseded" || result.version === undefined) continue;
      const { version } = result;
      // Between what was learned and what is known now are this node's own rows.
      const isForeign = version > newestKnown || (version <= this.#learned && row.version <= plainlyAhead);
      if (version > newestKnown && version < dayAhead) learned = Math.max(learned, version);
      if (!isForeign || version <= plainlyAhead) continue;
      this.#tell(row.key, version);
      if (version > ceiling) again.push(row);
      else this.#notWritten += 1;
    }
    if (learned > this.#learned) {
      this.#learned = learned;
      this.options.versions.observe(learned);
    }
    this.#replaced += again.length;
    return again;
  }

  #tell(key: string, version: number): void {
    this.#newest = Math.max(this.#newest, version);
    this.#lastKey = key;
    this.#lastMs = this.options.nowMs();
  }
}
