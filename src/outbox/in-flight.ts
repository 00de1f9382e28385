/** What was taken from the queue and is not yet settled, per destination. In memory only. */
import type { OutboxEntry } from "./entry.ts";

export class InFlight {
  readonly #destinations = new Map<string, Flight>();

  of(destination: string): Flight {
    let flight = this.#destinations.get(destination);
    if (flight === undefined) {
      flight = new Flight();
      this.#destinations.set(destination, flight);
    }
    return flight;
  }
}

class Flight {
  readonly #keys = new Set<string>();
  /** Every ready row up to this id is in flight, so that taking does not look at them again. */
  cursor = 0;

  get size(): number {
    return this.#keys.size;
  }

  has(key: string): boolean {
    return this.#keys.has(key);
  }

  add(key: string): void {
    this.#keys.add(key);
  }

  /** Makes what is left of the entry's key visible to the next take. */
  settle(entry: OutboxEntry, isLeft: boolean): void {
    this.#keys.delete(entry.key);
    // Without a row, it is not in the table that the cursor is about.
    if (isLeft && entry.id > 0) this.lowerCursor(entry.id);
  }

  lowerCursor(id: number): void {
    this.cursor = Math.min(this.cursor, id - 1);
  }
}
