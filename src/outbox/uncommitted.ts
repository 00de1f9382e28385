/** What was appended and is not yet committed: the newest mutation per destination and key. Looked into seldom. */
import { isNewer } from "../engine/engine.ts";
import type { OutboxMutation } from "./entry.ts";

export class Uncommitted {
  readonly #keysOf = new Map<string, Map<string, OutboxMutation>>();
  /** Not yet in the maps: they are made for the first look. */
  #unsorted: OutboxMutation[] = [];

  get(destination: string, key: string): OutboxMutation | null {
    if (this.#unsorted.length > 0) this.#sort();
    return this.#keysOf.get(destination)?.get(key) ?? null;
  }

  add(mutation: OutboxMutation): void {
    this.#unsorted.push(mutation);
  }

  clear(): void {
    this.#unsorted = [];
    this.#keysOf.clear();
  }

  #sort(): void {
    for (const mutation of this.#unsorted) {
      let keys = this.#keysOf.get(mutation.destination);
      if (keys === undefined) {
        keys = new Map();
        this.#keysOf.set(mutation.destination, keys);
      }
      const other = keys.get(mutation.key);
      if (other === undefined || isNewer(mutation.stamp, other.stamp)) keys.set(mutation.key, mutation);
    }
    this.#unsorted = [];
  }
}
