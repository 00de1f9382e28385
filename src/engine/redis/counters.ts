const KINDS = ["hits", "misses", "sets", "deletes"] as const;

export type CounterKind = (typeof KINDS)[number];

/** Allocates the memory in which the engines of `threads` threads count. */
export function makeCounters(threads: number): SharedArrayBuffer {
  return new SharedArrayBuffer(threads * KINDS.length * Float64Array.BYTES_PER_ELEMENT);
}

/** Counts of operations. Each thread counts for itself; readers add up the threads. */
export class Counters {
  readonly #all: Float64Array;
  readonly #own: number;

  /** @param thread number of the calling thread, from 0 */
  constructor(shared: SharedArrayBuffer, thread: number) {
    this.#all = new Float64Array(shared);
    this.#own = thread * KINDS.length;
  }

  add(kind: CounterKind, count = 1): void {
    const at = this.#own + KINDS.indexOf(kind);
    this.#all[at] = (this.#all[at] ?? 0) + count;
  }

  /** Sum over all threads. */
  total(kind: CounterKind): number {
    let sum = 0;
    for (let at = KINDS.indexOf(kind); at < this.#all.length; at += KINDS.length) sum += this.#all[at] ?? 0;
    return sum;
  }
}
