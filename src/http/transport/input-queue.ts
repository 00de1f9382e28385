import type { HttpLimits } from "./limits.ts";
import { NO_BYTES } from "./request.ts";

const LF = 0x0a;
const CR = 0x0d;

/** Room for the rest of a head that arrives in pieces, without moving it for each piece. */
const FIRST_BYTES = 1024;

const LARGE_BYTES = 32 * 1024;

/** More than the bytes of a request line besides its target. */
const LINE_BESIDE_TARGET_BYTES = 64;

/**
 * The received bytes that are not processed yet: `bytes[start .. end)`. A packet is used without a copy if the queue is
 * empty. Processed bytes are never overwritten: a request may still refer to them.
 */
export class InputQueue {
  bytes: Buffer = NO_BYTES;
  start = 0;
  end = 0;
  /** How much of an incomplete head was searched for a line end. */
  private scannedBytes = 0;

  get length(): number {
    return this.end - this.start;
  }

  /** Takes ownership of the chunk: nothing else may write to it. */
  add(chunk: Buffer): void {
    if (this.start === this.end) {
      this.bytes = chunk;
      this.start = 0;
      this.end = chunk.length;
      return;
    }
    if (this.end + chunk.length > this.bytes.length) {
      this.moveTo(Math.max(FIRST_BYTES, (this.length + chunk.length) * 2));
    }
    chunk.copy(this.bytes, this.end);
    this.end += chunk.length;
  }

  clear(): void {
    this.bytes = NO_BYTES;
    this.start = 0;
    this.end = 0;
  }

  /** All bytes in the queue were searched, and are not a complete head. */
  markScanned(): void {
    this.scannedBytes = this.length;
  }

  /** Parsing restarts for each line, not for each packet, so that bytes sent one by one cost little more. */
  mayHoldHead({ targetBytes, headBytes }: HttpLimits): boolean {
    const { scannedBytes } = this;
    this.markScanned();
    if (this.hasLineFeed(scannedBytes) || this.length > headBytes) return true;
    const longestLine = targetBytes + LINE_BESIDE_TARGET_BYTES;
    return scannedBytes <= longestLine && this.length > longestLine;
  }

  /** RFC 9112 2.2: empty lines before a request, which old clients send after a body, are skipped. */
  skipEmptyLines(): void {
    while (this.length >= 2 && this.bytes[this.start] === CR && this.bytes[this.start + 1] === LF) this.start += 2;
  }

  /** Whether the queue contains only the first half of an empty line. */
  get isHalfEmptyLine(): boolean {
    return this.length === 1 && this.bytes[this.start] === CR;
  }

  /** Copies the rest out of a large packet if little of it is left and has to wait. */
  shrink(): void {
    if (this.bytes.length > LARGE_BYTES && this.length < LARGE_BYTES / 2) this.moveTo(this.length);
  }

  /** Whether there is a line feed from `offset` on, counted from `start`. */
  private hasLineFeed(offset: number): boolean {
    const found = this.bytes.indexOf(LF, this.start + offset);
    return found !== -1 && found < this.end;
  }

  private moveTo(capacityBytes: number): void {
    const other = Buffer.allocUnsafeSlow(capacityBytes);
    this.bytes.copy(other, 0, this.start, this.end);
    this.bytes = other;
    this.end -= this.start;
    this.start = 0;
  }
}
