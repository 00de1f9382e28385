/** What was appended and is not yet committed: the newest mutation per destination and key. */
import { isNewer } from "../engine/engine.ts";
import type { OutboxMutation } from "./entry.ts";

export class Uncommitted {
  readonly #keysOf = new Map<string, Map<string, OutboxMutation>>();

  get(destination: string, key: string): OutboxMutation | null {
    return this.#keysOf.get(destination)?.get(key) ?? null;
  }

  add(mutation: OutboxMutation): void {
    let keys = this.#keysOf.get(mutation.destination);
    if (keys === undefined) {
      keys = new Map();
      this.#keysOf.set(mutation.destination, keys);
    }
    const other = keys.get(mutation.key);
    if (other === undefined || isNewer(mutation.stamp, other.stamp)) keys.set(mutation.key, mutation);
  }

  remove(mutations: readonly OutboxMutation[]): void {
    for (const { destination, key } of mutations) this.#keysOf.get(destination)?.delete(key);
  }
}
