import type { ValueParts } from "../../engine/engine.ts";
import type { Key } from "../../model/key.ts";
import type { Stamp } from "../../model/stamp.ts";
import { type ByteBudget, InFlight } from "../../runtime/byte-budget.ts";
import { type AnswerPart, type ByteSink, HeldBytes, LOST } from "../transport/answer-part.ts";

/** The first copy after a wait, for a socket that may accept very little … */
const FIRST_PART_BYTES = 32 * 1024;
/** … and the largest. Each copy is twice as large as the one before. */
const MOST_PART_BYTES = 256 * 1024;

/** A body that consists of the value of an entry, perhaps within a document. */
export interface EntryBody {
  readonly parts: ValueParts;
  readonly key: Key;
  readonly stamp: Stamp;
  readonly valueBytes: number;
  readonly before: Buffer;
  readonly after: Buffer;
}

/**
 * A body that is copied part by part as its client accepts it, so that a waiting client holds no memory. The bytes of a
 * part that the socket does not accept are copied again. If the entry is gone in between, the body can't be completed:
 * it is `LOST`. If the budget has room for copies, the rest is copied at the first wait, and cannot be lost any more.
 */
export class EntryParts implements AnswerPart {
  private sentBytes = 0;
  private readonly totalBytes: number;
  private rest: HeldBytes | null = null;

  constructor(
    private readonly body: EntryBody,
    private readonly budget: ByteBudget,
    /** The buffer for each part; its content is not needed after the call. */
    private readonly scratch: PartBuffer,
  ) {
    this.totalBytes = body.before.length + body.valueBytes + body.after.length;
  }

  get isSent(): boolean {
    return this.rest === null ? this.sentBytes === this.totalBytes : this.rest.isSent;
  }

  send(socket: ByteSink, mostBytes: number): number {
    if (this.rest !== null) return this.rest.send(socket, mostBytes);
    const before = this.sentBytes;
    const end = Math.min(this.totalBytes, before + mostBytes);
    for (let wanted = FIRST_PART_BYTES; this.sentBytes < end; wanted = Math.min(2 * wanted, MOST_PART_BYTES)) {
      const bytes = Math.min(wanted, end - this.sentBytes);
      const { buffer } = this.scratch;
      if (!this.copyTo(buffer, bytes)) return LOST;
      const taken = socket.write(buffer, 0, bytes);
      if (taken < 0) return LOST;
      this.sentBytes += taken;
      if (taken === bytes) continue;
      if (!this.holdRest()) return LOST;
      break;
    }
    return this.sentBytes - before;
  }

  drop(): void {
    this.rest?.drop();
  }

  /** @returns false if the entry is gone */
  private holdRest(): boolean {
    const { budget } = this;
    const bytes = this.totalBytes - this.sentBytes;
    if (!budget.hasRoomForCopy(bytes) || !budget.take(InFlight.Answers, bytes)) return true;
    const copy = Buffer.allocUnsafeSlow(bytes);
    const rest = new HeldBytes(budget, copy, 0, bytes, bytes);
    if (!this.copyTo(copy, bytes)) {
      rest.drop();
      return false;
    }
    this.rest = rest;
    return true;
  }

  /** Copies the next part of the body. @returns false if the entry is gone */
  private copyTo(target: Buffer, bytes: number): boolean {
    const { before, after, valueBytes, parts, key, stamp } = this.body;
    const start = this.sentBytes;
    const end = start + bytes;
    const valueEnd = before.length + valueBytes;
    if (start < before.length) before.copy(target, 0, start);
    if (end > valueEnd)
      after.copy(target, Math.max(0, valueEnd - start), Math.max(0, start - valueEnd), end - valueEnd);
    const from = Math.max(start, before.length);
    const length = Math.min(end, valueEnd) - from;
    if (length <= 0) return true;
    return parts.copyPart(key, stamp, { offset: from - before.length, length, target, start: from - start });
  }
}

/** The buffer for parts, one per thread. */
export class PartBuffer {
  private bytes: Buffer | null = null;

  /** Allocated at the first use. */
  get buffer(): Buffer {
    this.bytes ??= Buffer.allocUnsafeSlow(MOST_PART_BYTES);
    return this.bytes;
  }
}
