import { MAX_VALUE_BYTES } from "../model/entry.ts";
import { type ByteBudget, InFlight } from "../runtime/byte-budget.ts";
import type { LoadResult } from "./backend.ts";

/**
 * What the first values are taken to be: a part of the largest, for a slow database would answer one key after the other
 * else. A node that has loaded nothing yet has memory of its entries to spare for a larger one.
 */
const FIRST_BYTES = MAX_VALUE_BYTES / 4;
/** As a value comes from a driver, in its own buffers; as it is handed on; as a thread gets it. */
const COPIES = 3;
const LEAST_BYTES = 1024;
/** Of the budget, for one call. */
const CALL_SHARE = 0.25;
/** Loaded since garbage was collected last. */
const COLLECT_AFTER_BYTES = 16 * 1024 ** 2;

/**
 * How many keys may be loaded at one time, by the bytes that they will bring. How large a value is shows only when it is
 * there: it is taken to be as large as those before it.
 */
export class LoadRoom {
  #expectedBytes = FIRST_BYTES;

  #sinceCollectedBytes = 0;

  /** @param collectGarbage drivers leave the buffers of large values to it, and it would come late */
  constructor(
    private readonly budget: ByteBudget,
    private readonly collectGarbage: () => void,
  ) {}

  /** Keys of the next call, at least one. */
  get keysPerCall(): number {
    return Math.max(1, Math.floor((this.budget.limitBytes * CALL_SHARE) / (COPIES * this.#expectedBytes)));
  }

  /** Room for a call; null = it has to wait. Where nothing of others is held, it never has to. */
  take(keys: number): number | null {
    const bytes = keys * COPIES * this.#expectedBytes;
    if (this.budget.take(InFlight.Upstream, bytes)) return bytes;
    if (this.budget.usedFor(InFlight.Upstream) > 0) return null;
    this.budget.count(InFlight.Upstream, bytes);
    return bytes;
  }

  /** What a call has brought. Small values are believed slowly, a large one at once. */
  learn(results: readonly LoadResult[]): void {
    for (const result of results) {
      const bytes = result.kind === "found" ? result.value.bytes.length : 0;
      this.#sinceCollectedBytes += bytes;
      this.#expectedBytes = Math.max(LEAST_BYTES, bytes, Math.ceil(this.#expectedBytes / 2));
    }
  }

  /** To be called once what was loaded is handed on. */
  giveBack(bytes: number): void {
    if (this.#sinceCollectedBytes >= COLLECT_AFTER_BYTES) {
      this.#sinceCollectedBytes = 0;
      this.collectGarbage();
    }
    this.budget.giveBack(InFlight.Upstream, bytes);
  }
}
