import { at, type Policy, type Requests } from "./policy.ts";

/**
 * Belady's optimum: evicts the item whose next request is farthest away. No policy without knowledge of the future
 * does better.
 */
export function opt(capacity: number, requests: Requests): Policy {
  return new Opt(capacity, requests);
}

class Opt implements Policy {
  readonly name = "OPT";
  /** Per request, the position of the next request for the same key; the trace's length = none. */
  readonly #nextUse: Int32Array;
  /** Per key that is cached, the position of its next request; -1 = not cached. */
  readonly #dueAt: Int32Array;
  /** Per position of the trace, the key that is due there. */
  readonly #keys: Int32Array;
  readonly #heap: MaxHeap;
  readonly #neverAgain: number[] = [];
  #now = 0;
  #size = 0;

  constructor(
    readonly capacity: number,
    requests: Requests,
  ) {
    this.#keys = requests.keys;
    this.#nextUse = nextUses(requests);
    this.#dueAt = new Int32Array(requests.distinct).fill(-1);
    this.#heap = new MaxHeap(requests.keys.length + 1);
  }

  request(key: number): boolean {
    const due = at(this.#nextUse, this.#now);
    this.#now++;
    const hit = this.#dueAt[key] !== -1;
    this.#dueAt[key] = due;
    if (due === this.#keys.length) this.#neverAgain.push(key);
    else this.#heap.push(due);
    if (hit) return true;
    // The new item may be the one to go: the optimum may decline to cache.
    this.#size++;
    if (this.#size > this.capacity) this.#evict();
    return false;
  }

  #evict(): void {
    const useless = this.#neverAgain.pop();
    // Positions in the past stay in the heap below those of the future: the largest is always one that is cached.
    const victim = useless ?? at(this.#keys, this.#heap.pop());
    this.#dueAt[victim] = -1;
    this.#size--;
  }
}

function nextUses(requests: Requests): Int32Array {
  const { keys, distinct } = requests;
  const nextUse = new Int32Array(keys.length);
  const seenAt = new Int32Array(distinct).fill(keys.length);
  for (let position = keys.length - 1; position >= 0; position--) {
    const key = at(keys, position);
    nextUse[position] = at(seenAt, key);
    seenAt[key] = position;
  }
  return nextUse;
}

class MaxHeap {
  readonly #cells: Int32Array;
  #size = 0;

  constructor(capacity: number) {
    this.#cells = new Int32Array(capacity);
  }

  push(value: number): void {
    let index = this.#size++;
    while (index > 0) {
      const parent = (index - 1) >> 1;
      const above = at(this.#cells, parent);
      if (above >= value) break;
      this.#cells[index] = above;
      index = parent;
    }
    this.#cells[index] = value;
  }

  pop(): number {
    const top = at(this.#cells, 0);
    const value = at(this.#cells, --this.#size);
    let index = 0;
    while (true) {
      let child = 2 * index + 1;
      if (child >= this.#size) break;
      if (child + 1 < this.#size && at(this.#cells, child + 1) > at(this.#cells, child)) child++;
      if (at(this.#cells, child) <= value) break;
      this.#cells[index] = at(this.#cells, child);
      index = child;
    }
    this.#cells[index] = value;
    return top;
  }
}
