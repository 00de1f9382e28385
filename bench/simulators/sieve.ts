import { IdList, NONE } from "./id-list.ts";
import type { Policy, Requests } from "./policy.ts";

/**
 * SIEVE (NSDI '24): a FIFO queue with a visited bit; a hand walks from the oldest to the newest, spares what was
 * visited once, and evicts the first that was not. New items enter at the front, whatever the hand does.
 */
export function sieve(capacity: number, requests: Requests): Policy {
  return new Sieve(capacity, requests.distinct);
}

class Sieve implements Policy {
  readonly name = "SIEVE";
  readonly #queue: IdList;
  readonly #visited: Uint8Array;
  #hand = NONE;

  constructor(
    readonly capacity: number,
    distinct: number,
  ) {
    this.#queue = new IdList(distinct);
    this.#visited = new Uint8Array(distinct);
  }

  request(key: number): boolean {
    if (this.#queue.has(key)) {
      this.#visited[key] = 1;
      return true;
    }
    if (this.#queue.size >= this.capacity) this.#evict();
    this.#queue.pushFront(key);
    this.#visited[key] = 0;
    return false;
  }

  #evict(): void {
    let candidate = this.#hand === NONE ? this.#queue.back : this.#hand;
    while (this.#visited[candidate] === 1) {
      this.#visited[candidate] = 0;
      const next = this.#queue.towardsFront(candidate);
      candidate = next === NONE ? this.#queue.back : next;
    }
    this.#hand = this.#queue.towardsFront(candidate);
    this.#queue.remove(candidate);
  }
}
