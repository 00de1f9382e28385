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
  readonly #newer = new Map<string, number>();
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

  /** A newer mutation of a key that is in flight waits under this id. */
  noteNewer(key: string, id: number): void {
    this.#newer.set(key, id);
  }

  /** Makes what is left of the entry's key visible to the next take. */
  settle(entry: OutboxEntry, isLeft: boolean): void {
    this.#keys.delete(entry.key);
    if (isLeft) this.lowerCursor(entry.id);
    const newerId = this.#newer.get(entry.key);
    if (newerId === undefined) return;
    this.#newer.delete(entry.key);
    this.lowerCursor(newerId);
  }

  lowerCursor(id: number): void {
    this.cursor = Math.min(this.cursor, id - 1);
  }
}
