import { isUtf8 } from "node:buffer";
import { WireError } from "./wire-error.ts";

const MAX_VARINT_BYTES = 8;

/** Reads the format of `ByteWriter`. Throws `WireError` if the message is too short. */
export class ByteReader {
  #at = 0;

  constructor(private readonly bytes: Buffer) {}

  get isAtEnd(): boolean {
    return this.#at === this.bytes.length;
  }

  byte(): number {
    const value = this.bytes[this.#at++];
    if (value === undefined) throw new WireError("the message ends too early");
    return value;
  }

  varint(): number {
    let value = 0;
    let factor = 1;
    for (let count = 0; count < MAX_VARINT_BYTES; count++) {
      const byte = this.byte();
      value += (byte & 0x7f) * factor;
      factor *= 0x80;
      if (byte < 0x80) {
        if (!Number.isSafeInteger(value)) break;
        return value;
      }
    }
    throw new WireError("the message has a number that is too large");
  }

  /** UTF-8 of at most `limitBytes`. */
  text(limitBytes: number): string {
    const bytes = this.block(limitBytes);
    if (!isUtf8(bytes)) throw new WireError("the message has a text that is not UTF-8");
    return bytes.toString("utf8");
  }

  /** A view of the message's bytes. */
  block(limitBytes: number): Buffer {
    const length = this.varint();
    if (length > limitBytes) throw new WireError(`the message has a part of ${length} bytes, more than ${limitBytes}`);
    const end = this.#at + length;
    if (end > this.bytes.length) throw new WireError("the message ends too early");
    const block = this.bytes.subarray(this.#at, end);
    this.#at = end;
    return block;
  }
}
