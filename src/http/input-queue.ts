import { NO_BYTES } from "./request.ts";

const LF = 0x0a;
const CR = 0x0d;

/** Room for the rest of a head that came in pieces, without moving it for each piece. */
const FIRST_BYTES = 1024;

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
    if (this.end + chunk.length > this.bytes.length) this.moveToLarger(this.length + chunk.length);
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

  private moveToLarger(neededBytes: number): void {
    const larger = Buffer.allocUnsafeSlow(Math.max(FIRST_BYTES, neededBytes * 2));
    this.bytes.copy(larger, 0, this.start, this.end);
    this.bytes = larger;
    this.end -= this.start;
    this.start = 0;
  }
}
