import { type ByteBudget, InFlight } from "../../runtime/byte-budget.ts";
import { freeBuffer } from "./free-buffer.ts";
import { NO_BYTES } from "./request.ts";

const FIRST_BYTES = 16 * 1024;

/**
 * Collects a body that arrives in pieces. It grows with the bytes received, never with the announced length, so that a
 * client pays for memory with bytes sent.
 */
export class BodyBuffer {
  bytes: Buffer = NO_BYTES;
  length = 0;

  /** @param expectedBytes the most bytes that can arrive; growth stops there */
  constructor(
    private readonly budget: ByteBudget,
    private readonly expectedBytes: number,
  ) {}

  /** @returns false if the budget has no room */
  append(source: Buffer, start: number, end: number): boolean {
    const length = this.length + end - start;
    if (length > this.bytes.length && !this.grow(length)) return false;
    source.copy(this.bytes, this.length, start, end);
    this.length = length;
    return true;
  }

  /** Returns the bytes to the budget. Call either this or `free`, once. */
  release(): void {
    this.budget.giveBack(InFlight.Bodies, this.bytes.length);
    this.bytes = NO_BYTES;
  }

  /** Like `release`, when the bytes are no longer read: their memory is freed at once. */
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
