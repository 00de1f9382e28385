/** Bytes that are written one after the other: the buffer grows with them, and is used again. */
export class GrowingBuffer {
  /** Of what was written. */
  length = 0;
  #buffer: Buffer<ArrayBuffer>;

  constructor(private readonly firstBytes: number) {
    this.#buffer = Buffer.allocUnsafeSlow(firstBytes);
  }

  /** The buffer, with room for so many bytes from `length` on. Another one, perhaps, than before. */
  room(bytes: number): Buffer<ArrayBuffer> {
    const { length } = this;
    if (length + bytes <= this.#buffer.length) return this.#buffer;
    const larger = Buffer.allocUnsafeSlow(Math.max(2 * this.#buffer.length, length + bytes));
    this.#buffer.copy(larger, 0, 0, length);
    this.#buffer = larger;
    return larger;
  }

  /** A view, valid until the next write. */
  written(): Buffer<ArrayBuffer> {
    return this.#buffer.subarray(0, this.length);
  }

  /** Begins anew; a buffer that has grown beyond `mostKeptBytes` is given up. */
  clear(mostKeptBytes: number): void {
    this.length = 0;
    if (this.#buffer.length > mostKeptBytes) this.#buffer = Buffer.allocUnsafeSlow(this.firstBytes);
  }

  /** Gives what was written away, with its buffer, and begins anew. */
  take(): Uint8Array<ArrayBuffer> {
    const taken = new Uint8Array(this.#buffer.buffer, 0, this.length);
    this.clear(0);
    return taken;
  }
}
