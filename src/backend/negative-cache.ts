import { BoundedMap } from "../runtime/bounded-map.ts";

/** Keys that the backend does not have, remembered for a while. Bounded; the oldest are forgotten first. */
export class NegativeCache {
  /** In the order in which they expire, since all live equally long. */
  readonly #expiresAtMs: BoundedMap<string, number>;

  constructor(
    limitKeys: number,
    private readonly ttlMs: number,
  ) {
    this.#expiresAtMs = new BoundedMap(limitKeys);
  }

  has(key: string, nowMs: number): boolean {
    const expiresAtMs = this.#expiresAtMs.get(key);
    if (expiresAtMs === undefined) return false;
    if (expiresAtMs > nowMs) return true;
    this.#expiresAtMs.delete(key);
    return false;
  }

  add(key: string, nowMs: number): void {
    if (this.ttlMs === 0) return;
    this.#expiresAtMs.set(key, nowMs + this.ttlMs);
  }

  forget(key: string): void {
    this.#expiresAtMs.delete(key);
  }

  /** Null = everything. */
  forgetMatching(matches: ((key: string) => boolean) | null): void {
    if (matches === null) {
      this.#expiresAtMs.clear();
      return;
    }
    for (const key of this.#expiresAtMs.keys()) if (matches(key)) this.#expiresAtMs.delete(key);
  }
}
