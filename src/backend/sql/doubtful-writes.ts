/**
 * Writes whose outcome is not known: the call ran out of time or lost its connection, and the server may carry the
 * statement out yet, as long as its own limit on statements allows.
 *
 * An older put that comes late can't harm a newer one where versions are compared; but it could bring back what a delete
 * has removed in between. So what must not be overtaken waits until the old statement can't run any more.
 */
import type { BackendRow } from "../backend.ts";

interface Doubt {
  readonly version: number;
  readonly untilMs: number;
}

/** The oldest doubts are given up beyond this. */
const LIMIT_KEYS = 100_000;

export class DoubtfulWrites {
  readonly #doubts = new Map<string, Doubt>();

  /** `nowMs` is a clock that never goes back; `lastsMs` is how long a statement may still run. */
  constructor(
    private readonly lastsMs: number,
    private readonly nowMs: () => number,
  ) {}

  add(row: BackendRow): void {
    this.#doubts.delete(row.key);
    this.#doubts.set(row.key, { version: row.version, untilMs: this.nowMs() + this.lastsMs });
    for (const [key, { untilMs }] of this.#doubts) {
      if (untilMs > this.nowMs() && this.#doubts.size <= LIMIT_KEYS) return;
      this.#doubts.delete(key);
    }
  }

  /** Whether an older write of the row's key may still be carried out after it. */
  threatens(row: BackendRow): boolean {
    const doubt = this.#doubts.get(row.key);
    return doubt !== undefined && doubt.version < row.version && doubt.untilMs > this.nowMs();
  }
}
