/**
 * The stamps of the last writes by key that the database has. A thread may be late with an older one: what is loaded now
 * is cached with the stamp of the newer, and so is not replaced by it.
 */
import type { Stamp } from "../model/stamp.ts";

/** More than can be written while a thread is late. */
const MOST = 10_000;

export class RecentWrites {
  readonly #stamps = new Map<string, Stamp>();

  add(key: string, stamp: Stamp): void {
    this.#stamps.delete(key);
    this.#stamps.set(key, stamp);
    if (this.#stamps.size <= MOST) return;
    for (const oldest of this.#stamps.keys()) {
      this.#stamps.delete(oldest);
      return;
    }
  }

  /** Null = none is known. */
  stampOf(key: string): Stamp | null {
    return this.#stamps.get(key) ?? null;
  }
}
