/** Whether the node wants requests: one word of shared memory, so that `/readyz` asks no other thread. */
const STARTING = 0;
const SERVING = 1;
const DRAINING = 2;

export class Readiness {
  readonly #word: Int32Array;

  constructor(
    /** Hand this to other threads. */
    readonly buffer = new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT),
  ) {
    this.#word = new Int32Array(buffer);
  }

  get isReady(): boolean {
    return Atomics.load(this.#word, 0) === SERVING;
  }

  /** The node has what it needs to serve. A node that drains stays so. */
  serve(): void {
    Atomics.compareExchange(this.#word, 0, STARTING, SERVING);
  }

  drain(): void {
    Atomics.store(this.#word, 0, DRAINING);
  }
}
