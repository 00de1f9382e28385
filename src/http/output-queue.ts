import type { ByteSocket } from "./connection-context.ts";
import { freeBuffer } from "./free-buffer.ts";
import { NO_BYTES } from "./request.ts";

/** What the socket hasn't taken yet of the answers. Empty nearly always. */
export class OutputQueue {
  private bytes: Buffer = NO_BYTES;
  private start = 0;
  private end = 0;

  constructor(private readonly socket: ByteSocket) {}

  get isEmpty(): boolean {
    return this.start === this.end;
  }

  /**
   * Sends `bytes[start .. end)`, and keeps what the socket doesn't take.
   *
   * @param isShared the bytes are used again after the call; if not, their memory is given back once they are sent
   */
  add(bytes: Buffer, start: number, end: number, isShared = false): void {
    if (start === end) return;
    if (!this.isEmpty) {
      this.keep(Buffer.concat([this.bytes.subarray(this.start, this.end), bytes.subarray(start, end)]));
      return;
    }
    const sent = Math.max(0, this.socket.write(bytes, start, end - start));
    if (sent === end - start) {
      if (!isShared) freeBuffer(bytes);
      return;
    }
    if (isShared) {
      this.keep(Buffer.from(bytes.subarray(start + sent, end)));
      return;
    }
    this.bytes = bytes;
    this.start = start + sent;
    this.end = end;
  }

  /** Sends more of it. @returns how many bytes were taken */
  send(): number {
    const sent = Math.max(0, this.socket.write(this.bytes, this.start, this.end - this.start));
    this.start += sent;
    if (this.isEmpty) this.clear();
    return sent;
  }

  clear(): void {
    freeBuffer(this.bytes);
    this.bytes = NO_BYTES;
    this.start = 0;
    this.end = 0;
  }

  private keep(bytes: Buffer): void {
    this.bytes = bytes;
    this.start = 0;
    this.end = bytes.length;
  }
}
