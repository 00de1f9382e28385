import { randomFillSync } from "node:crypto";

const TRACE_BYTES = 16;
const SPAN_BYTES = 8;
const POOL_BYTES = 4_096;

/** Creates trace and span ids from a pool of random bytes. */
export class IdSource {
  readonly #pool = Buffer.alloc(POOL_BYTES);
  #at = POOL_BYTES;

  traceId(): string {
    return this.#take(TRACE_BYTES);
  }

  spanId(): string {
    return this.#take(SPAN_BYTES);
  }

  #take(bytes: number): string {
    if (this.#at + bytes > POOL_BYTES) {
      randomFillSync(this.#pool);
      this.#at = 0;
    }
    const start = this.#at;
    this.#at += bytes;
    const id = this.#pool.toString("hex", start, this.#at);
    // All zeroes is invalid, and practically never happens.
    return /^0+$/.test(id) ? this.#take(bytes) : id;
  }
}
