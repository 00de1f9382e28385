import type { Key } from "../engine.ts";
import { EncodedCommand } from "./encoded-command.ts";
import { EXPIRIES } from "./scripts.ts";

const CR = 0x0d;
const LF = 0x0a;
const DOLLAR = 0x24;
/** `$1024\r\n` before a name and `\r\n` behind it. */
const BYTES_BESIDE_KEY = 16;

/** The names of entries that are read together, as they stand in a command. */
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

  /** The values of all. */
  values(): EncodedCommand {
    return new EncodedCommand("mget", this.#behind(`*${this.count + 1}\r\n$4\r\nMGET\r\n`));
  }

  /** The times to live of all, as a list; of one alone, as it is. */
  expiries(): EncodedCommand {
    const { count } = this;
    if (count === 1) return new EncodedCommand("pttl", this.#behind("*2\r\n$4\r\nPTTL\r\n"));
    const digits = String(count);
    const head = `*${count + 3}\r\n$7\r\nEVALSHA\r\n$40\r\n${EXPIRIES.sha}\r\n$${digits.length}\r\n${digits}\r\n`;
    return new EncodedCommand("evalsha", this.#behind(head));
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
