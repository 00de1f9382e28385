import { type ByteBudget, InFlight } from "../../runtime/byte-budget.ts";
import { freeBuffer } from "./free-buffer.ts";
import { NO_BYTES } from "./request.ts";

const FIRST_BYTES = 16 * 1024;

/**
 * A body that arrives in pieces. It grows with what has arrived, never with what was announced, so that a client pays
 * for memory with bytes sent.
 */
export class BodyBuffer {
  bytes: Buffer = NO_BYTES;
  length = 0;

  /** @param expectedBytes how long it will be at most; growth stops there */
  constructor(
    private readonly budget: ByteBudget,
    private readonly expectedBytes: number,
  ) {}

  /** @returns false where the budget has no room for it */
  append(source: Buffer, start: number, end: number): boolean {
    const length = this.length + end - start;
    if (length > this.bytes.length && !this.grow(length)) return false;
    source.copy(this.bytes, this.length, start, end);
    this.length = length;
    return true;
  }

  /** Gives the budget back. Call this, or `free`, once. */
  release(): void {
    this.budget.giveBack(InFlight.Bodies, this.bytes.length);
    this.bytes = NO_BYTES;
  }

  /** As `release`, where nobody reads the bytes any more: their memory goes at once. */
  free(): void {
    const { bytes } = this;
    this.release();
    freeBuffer(bytes);
  }

  private grow(neededBytes: number): boolean {
    const doubled = Math.max(FIRST_BYTES, this.bytes.length * 2);
    const capacity = Math.max(neededBytes, Math.min(doubled, this.expectedBytes));
    if (!this.budget.take(InFlight.Bodies, capacity - this.bytes.length)) return false;
    const larger = Buffer.allocUnsafeSlow(capacity);
    this.bytes.copy(larger, 0, 0, this.length);
    freeBuffer(this.bytes);
    this.bytes = larger;
    return true;
  }
}
