import { IdList } from "./id-list.ts";
import type { Policy, Requests } from "./policy.ts";

/** Textbook LRU: what was used longest ago goes first. */
export function lru(capacity: number, requests: Requests): Policy {
  return new Lru(capacity, requests.distinct);
}

class Lru implements Policy {
  readonly name = "LRU";
  readonly #list: IdList;

  constructor(
    readonly capacity: number,
    distinct: number,
  ) {
    this.#list = new IdList(distinct);
  }

  request(key: number): boolean {
    if (this.#list.has(key)) {
      this.#list.moveToFront(key);
      return true;
    }
    if (this.#list.size >= this.capacity) this.#list.popBack();
    this.#list.pushFront(key);
    return false;
  }
}
