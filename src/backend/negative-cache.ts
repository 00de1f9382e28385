/** Keys that the backend does not have, remembered for a while. Bounded; the oldest are forgotten first. */
export class NegativeCache {
  /** In the order in which they expire, since all live equally long. */
  readonly #expiresAtMs = new Map<string, number>();

  constructor(
    private readonly limitKeys: number,
    private readonly ttlMs: number,
  ) {}

  has(key: string, nowMs: number): boolean {
    const expiresAtMs = this.#expiresAtMs.get(key);
    if (expiresAtMs === undefined) return false;
    if (expiresAtMs > nowMs) return true;
    this.#expiresAtMs.delete(key);
    return false;
  }

  add(key: string, nowMs: number): void {
    if (this.ttlMs === 0) return;
    this.#expiresAtMs.delete(key);
    this.#expiresAtMs.set(key, nowMs + this.ttlMs);
    if (this.#expiresAtMs.size <= this.limitKeys) return;
    for (const oldest of this.#expiresAtMs.keys()) {
      this.#expiresAtMs.delete(oldest);
      return;
    }
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
