/**
 * Rows that failed all alone, though the backend may be well: a value that makes it drop the connection, say. They are
 * written alone from then on, each with growing pauses of its own, so that no other row fails with them.
 */
const LIMIT = 64;

export class PoisonRows {
  readonly #failures = new Map<string, number>();

  get size(): number {
    return this.#failures.size;
  }

  has(key: string): boolean {
    return this.#failures.has(key);
  }

  /** Gives how often the row has failed alone. */
  failed(key: string): number {
    const failures = (this.#failures.get(key) ?? 0) + 1;
    if (failures > 1 || this.#failures.size < LIMIT) this.#failures.set(key, failures);
    return failures;
  }

  clear(key: string): void {
    this.#failures.delete(key);
  }
}
