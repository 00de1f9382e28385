import { NO_BYTES } from "./request.ts";

const LF = 0x0a;
const CR = 0x0d;

/** Room for the rest of a head that came in pieces, without moving it for each piece. */
const FIRST_BYTES = 1024;

const LARGE_BYTES = 32 * 1024;

/**
 * What has arrived and is not yet handled: `bytes[start .. end)`. A packet is taken as it is, without a copy, where
 * nothing waits before it. Bytes that were handled are never written over: a request may still point to them.
 */
export class InputQueue {
  bytes: Buffer = NO_BYTES;
  start = 0;
  end = 0;

  get length(): number {
    return this.end - this.start;
  }

  /** Takes the chunk over: nobody else may write to it. */
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

  /** Whether there is a line feed from `offset` on, counted from `start`. */
  hasLineFeed(offset: number): boolean {
    const found = this.bytes.indexOf(LF, this.start + offset);
    return found !== -1 && found < this.end;
  }

  /** RFC 9112 2.2: empty lines before a request, which old clients send after a body, are passed over. */
  skipEmptyLines(): void {
    while (this.length >= 2 && this.bytes[this.start] === CR && this.bytes[this.start + 1] === LF) this.start += 2;
  }

  /** All that is there is what an empty line begins with. */
  get isHalfEmptyLine(): boolean {
    return this.length === 1 && this.bytes[this.start] === CR;
  }

  /** Gives up a large packet of which only a little is left, where that has to wait. */
  shrink(): void {
    if (this.bytes.length > LARGE_BYTES && this.length < LARGE_BYTES / 2) this.moveTo(this.length);
  }

  private moveTo(capacityBytes: number): void {
    const other = Buffer.allocUnsafeSlow(capacityBytes);
    this.bytes.copy(other, 0, this.start, this.end);
    this.bytes = other;
    this.end -= this.start;
    this.start = 0;
  }
}
