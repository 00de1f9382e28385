import type { Key } from "../../model/key.ts";
import { EncodedCommand } from "./encoded-command.ts";
import { READ_TOGETHER } from "./scripts.ts";

const CR = 0x0d;
const LF = 0x0a;
const DOLLAR = 0x24;
/** `$1024\r\n` before a name and `\r\n` behind it. */
const BYTES_BESIDE_KEY = 16;

/** The names of entries that are read together, in their encoded form. */
export class ReadBatch {
  count = 0;
  #bytes = Buffer.allocUnsafeSlow(4096);
  #end = 0;
  readonly #prefix: Buffer;

  constructor(prefix: Buffer) {
    this.#prefix = prefix;
  }

  add(key: Key): void {
    const length = this.#prefix.length + key.length;
    this.#reserve(length + BYTES_BESIDE_KEY);
    const bytes = this.#bytes;
    bytes[this.#end++] = DOLLAR;
    this.#end += bytes.latin1Write(String(length), this.#end);
    this.#endLine();
    this.#end += this.#prefix.copy(bytes, this.#end);
    this.#end += key.bytes.copy(bytes, this.#end, 0, key.length);
    this.#endLine();
    this.count++;
  }

  clear(): void {
    this.count = 0;
    this.#end = 0;
  }

  command(): EncodedCommand {
    const digits = String(this.count);
    const script = `*${this.count + 3}\r\n$7\r\nEVALSHA\r\n$40\r\n${READ_TOGETHER.sha}\r\n`;
    return new EncodedCommand("evalsha", this.#behind(`${script}$${digits.length}\r\n${digits}\r\n`));
  }

  #behind(head: string): Buffer {
    const command = Buffer.allocUnsafe(head.length + this.#end);
    command.latin1Write(head, 0);
    this.#bytes.copy(command, head.length, 0, this.#end);
    return command;
  }

  #endLine(): void {
    this.#bytes[this.#end++] = CR;
    this.#bytes[this.#end++] = LF;
  }

  #reserve(bytes: number): void {
    if (this.#end + bytes <= this.#bytes.length) return;
    const larger = Buffer.allocUnsafeSlow((this.#end + bytes) * 2);
    this.#bytes.copy(larger, 0, 0, this.#end);
    this.#bytes = larger;
  }
}
