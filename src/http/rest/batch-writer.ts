import type { LoadSink, LoadState } from "../../cache/backing-store.ts";
import type { EntryInfo } from "../../engine/engine.ts";
import { holdsJson, MAX_VALUE_BYTES } from "../../model/entry.ts";
import type { Key } from "../../model/key.ts";
import { type ByteBudget, InFlight } from "../../runtime/byte-budget.ts";
import { CountedBytes } from "../../runtime/counted-bytes.ts";
import { HeldBytes } from "../transport/answer-part.ts";
import { TOO_MUCH_IN_FLIGHT } from "../transport/api-error.ts";
import { freeBuffer } from "../transport/free-buffer.ts";
import { NO_BYTES } from "../transport/request.ts";
import { writeShort } from "../transport/response-head.ts";
import { escapedLength, writeEscaped } from "./entry-answer.ts";
import { valueTypeOf } from "./value-type.ts";

/**
 * The most bytes of values in one answer: two values of the maximum size. Otherwise a small request could ask for 16
 * GiB at once.
 */
export const MAX_ANSWER_BYTES = 2 * MAX_VALUE_BYTES;

/** A longer text is sent without a copy, and its buffer is not kept for the next batch. */
export const MOST_KEPT_BYTES = 1024 * 1024;
/** From this size on, the budget counts a buffer, and it grows by a quarter instead of doubling. */
const LARGE_BYTES = 64 * 1024;
/** Bytes encoded in one step: a multiple of three, so that the parts fit together. */
const BASE64_STEP_BYTES = 48 * 1024;
const FOUND = Buffer.from('{"status":200,"key":"');
const JSON_VALUE = Buffer.from('","value":');
const QUOTE = Buffer.from('"');
const CONTENT_TYPE = ',"content_type":';
const CONTENT_ENCODING = ',"content_encoding":';
const BASE64 = ',"base64":"';
const STALE = Buffer.from(',"stale":true');
const COMMA = 0x2c;
const CLOSING_BRACE = 0x7d;

/** The room left for the results of one batch, shared by the writers of concurrent operations. */
export class AnswerRoom {
  bytesLeft = MAX_ANSWER_BYTES;
}

/**
 * Collects the results of a batch as JSON text. The engine copies JSON values directly into the text; other values are
 * base64 with their content type. Throws `TOO_MUCH_IN_FLIGHT` if the budget has no room.
 */
export class BatchWriter implements LoadSink {
  target: Buffer;
  offset = 0;
  /** Length of the last found value. */
  valueBytes = 0;
  private key: Key = { bytes: Buffer.alloc(0), length: 0 };
  private position = 0;
  private count = 0;
  /** Start of the result that is being written: behind the comma. */
  private resultStart = 0;
  private isJson = true;
  private bytes: Buffer = NO_BYTES;
  private collected: Buffer;
  /** The room that the current result has taken. */
  private taken = 0;
  private refused = false;
  private isStale = false;
  private readonly countedText: CountedBytes;
  private readonly countedValue: CountedBytes;

  /** `initialBytes`: initial size of the buffer. */
  constructor(
    private readonly initialBytes: number,
    private readonly room: AnswerRoom,
    private readonly budget: ByteBudget,
  ) {
    this.countedText = new CountedBytes(budget, InFlight.Answers);
    this.countedValue = new CountedBytes(budget, InFlight.Answers);
    this.collected = Buffer.allocUnsafeSlow(initialBytes);
    this.target = this.collected;
  }

  /** Whether the last found entry did not fit, and is not in the text. */
  get hasRefused(): boolean {
    return this.refused;
  }

  /** Starts a new text. */
  reset(): void {
    this.room.bytesLeft = MAX_ANSWER_BYTES;
    this.position = 0;
    this.count = 0;
    if (this.collected.length > MOST_KEPT_BYTES) this.release();
  }

  /** Frees large buffers. */
  release(): void {
    this.dropValue();
    freeBuffer(this.collected);
    this.renew();
    this.countedText.giveBack();
  }

  /** Transfers ownership of the text to the caller. */
  handOver(): HeldBytes {
    const part = new HeldBytes(this.budget, this.collected, 0, this.position, this.countedText.handOver());
    this.renew();
    return part;
  }

  get text(): Buffer {
    return this.collected;
  }

  get length(): number {
    return this.position;
  }

  /** Starts the next result. */
  open(): void {
    if (this.count++ > 0) {
      this.makeRoom(1);
      this.collected[this.position++] = COMMA;
    }
    this.resultStart = this.position;
    this.taken = 0;
    this.refused = false;
    this.isStale = false;
  }

  /** To be called before the engine looks up an entry. */
  prepare(key: Key): void {
    this.key = key;
  }

  markStale(): void {
    this.isStale = true;
  }

  markLoaded({ isStale }: LoadState): void {
    this.isStale = isStale;
  }

  begin(entry: EntryInfo): boolean {
    this.position = this.resultStart;
    this.valueBytes = entry.valueLength;
    this.isJson = holdsJson(entry.attributes);
    this.refused = !this.takeRoom(entry.valueLength);
    if (this.refused) return false;
    this.makeRoom(escapedLength(this.key) + entry.valueLength + 64);
    this.write(FOUND);
    this.position = writeEscaped(this.collected, this.position, this.key);
    if (!this.isJson) {
      this.write(QUOTE);
      this.beginBytes(entry);
      return true;
    }
    this.write(JSON_VALUE);
    this.target = this.collected;
    this.offset = this.position;
    this.position += entry.valueLength;
    return true;
  }

  /** To be called after the engine has found the entry. */
  end(): void {
    if (!this.isJson) {
      this.addBase64();
      this.write(QUOTE);
    }
    this.makeRoom(STALE.length + 1);
    if (this.isStale) this.write(STALE);
    this.collected[this.position++] = CLOSING_BRACE;
  }

  /** Replaces the current result by this JSON text. */
  instead(json: string): void {
    this.position = this.resultStart;
    this.add(json);
  }

  /** Appends the results of another writer. */
  append(other: BatchWriter): void {
    this.open();
    this.makeRoom(other.length);
    this.position += other.text.copy(this.collected, this.position, 0, other.length);
    other.release();
  }

  /** Appends text that belongs to no result. */
  add(text: string): void {
    this.makeRoom(text.length * 3);
    this.position += this.collected.utf8Write(text, this.position);
  }

  /** An optimistic read may start again: the room of the first attempt is returned. */
  private takeRoom(bytes: number): boolean {
    this.room.bytesLeft += this.taken;
    this.taken = 0;
    if (bytes > this.room.bytesLeft) return false;
    this.room.bytesLeft -= bytes;
    this.taken = bytes;
    return true;
  }

  private beginBytes(entry: EntryInfo): void {
    const { mediaType, coding } = valueTypeOf(entry.attributes);
    const encoding = coding === null ? "" : `${CONTENT_ENCODING}"${coding}"`;
    this.add(`${CONTENT_TYPE}${JSON.stringify(mediaType)}${encoding}${BASE64}`);
    const { valueLength } = entry;
    this.dropValue();
    if (valueLength > LARGE_BYTES && !this.countedValue.take(valueLength)) throw TOO_MUCH_IN_FLIGHT;
    this.bytes = Buffer.allocUnsafeSlow(valueLength);
    this.target = this.bytes;
    this.offset = 0;
  }

  /** Writes a few bytes, for which there must be room. */
  private write(bytes: Buffer): void {
    this.position = writeShort(this.collected, this.position, bytes);
  }

  private addBase64(): void {
    const { bytes } = this;
    this.makeRoom(Math.ceil(bytes.length / 3) * 4 + QUOTE.length);
    for (let start = 0; start < bytes.length; start += BASE64_STEP_BYTES) {
      const text = bytes.base64Slice(start, Math.min(bytes.length, start + BASE64_STEP_BYTES));
      this.position += this.collected.latin1Write(text, this.position);
    }
    this.dropValue();
  }

  private dropValue(): void {
    freeBuffer(this.bytes);
    this.bytes = NO_BYTES;
    this.countedValue.giveBack();
  }

  private makeRoom(bytes: number): void {
    const neededBytes = this.position + bytes;
    const { length } = this.collected;
    if (neededBytes <= length) return;
    const grownBytes = Math.ceil(length * (length < LARGE_BYTES ? 2 : 1.25));
    const largerBytes = Math.max(grownBytes, neededBytes);
    if (largerBytes > LARGE_BYTES && !this.countedText.take(largerBytes)) throw TOO_MUCH_IN_FLIGHT;
    const larger = Buffer.allocUnsafeSlow(largerBytes);
    this.collected.copy(larger, 0, 0, this.position);
    freeBuffer(this.collected);
    this.collected = larger;
  }

  private renew(): void {
    this.collected = Buffer.allocUnsafeSlow(this.initialBytes);
    this.position = 0;
  }
}
