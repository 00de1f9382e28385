import { type ByteBudget, InFlight } from "../runtime/byte-budget.ts";
import type { ByteSocket } from "./connection-context.ts";
import { freeBuffer } from "./free-buffer.ts";
import { Pace, type PaceContext } from "./pace.ts";
import { NO_BYTES } from "./request.ts";

/** What the socket hasn't taken yet of the answers. Empty nearly always. */
export class OutputQueue {
  private bytes: Buffer = NO_BYTES;
  private start = 0;
  private end = 0;
  /** What the budget counts for `bytes`. */
  private countedBytes = 0;
  private readonly budget: ByteBudget;
  private readonly pace: Pace;

  constructor(
    private readonly socket: ByteSocket,
    private readonly context: PaceContext,
  ) {
    this.budget = context.budget;
    this.pace = new Pace(context);
  }

  get isEmpty(): boolean {
    return this.start === this.end;
  }

  /**
   * Sends `bytes[start .. end)`, and keeps what the socket doesn't take. The bytes are used again after the call.
   *
   * @returns false where the budget has no room for what is to be kept: nothing of it is
   */
  addShared(bytes: Buffer, start: number, end: number): boolean {
    if (!this.isEmpty) return this.append(bytes, start, end);
    const sent = this.write(bytes, start, end);
    const restBytes = end - start - sent;
    if (restBytes === 0) return true;
    if (!this.budget.take(InFlight.Answers, restBytes)) return false;
    this.keep(Buffer.from(bytes.subarray(start + sent, end)), 0, restBytes);
    return true;
  }

  /**
   * As `addShared`, with bytes that are this queue's from now on: their memory is given back once they are sent.
   *
   * @param countedBytes what the budget counts for them already
   */
  addOwned(bytes: Buffer, start: number, end: number, countedBytes: number): boolean {
    if (!this.isEmpty) {
      const isKept = this.append(bytes, start, end);
      this.drop(bytes, countedBytes);
      return isKept;
    }
    const sent = this.write(bytes, start, end);
    if (sent === end - start) {
      this.drop(bytes, countedBytes);
      return true;
    }
    if (!this.budget.take(InFlight.Answers, bytes.length - countedBytes)) {
      this.drop(bytes, countedBytes);
      return false;
    }
    this.keep(bytes, start + sent, end);
    return true;
  }

  /** Sends more of it, as much as the socket takes. */
  send(): void {
    const sent = this.write(this.bytes, this.start, this.end);
    this.start += sent;
    this.pace.moved(sent);
    if (this.isEmpty) this.clear();
  }

  /** Whether the client takes too little of what is kept. To be asked in every sweep. */
  get isTooSlow(): boolean {
    return !this.isEmpty && this.pace.isTooSlow(this.context.limits.writeTimeoutMs);
  }

  clear(): void {
    this.drop(this.bytes, this.countedBytes);
    this.bytes = NO_BYTES;
    this.countedBytes = 0;
    this.start = 0;
    this.end = 0;
  }

  private write(bytes: Buffer, start: number, end: number): number {
    return start === end ? 0 : Math.max(0, this.socket.write(bytes, start, end - start));
  }

  private append(bytes: Buffer, start: number, end: number): boolean {
    const lengthBytes = this.end - this.start + end - start;
    if (!this.budget.take(InFlight.Answers, lengthBytes)) return false;
    const both = Buffer.concat([this.bytes.subarray(this.start, this.end), bytes.subarray(start, end)]);
    this.clear();
    this.keep(both, 0, lengthBytes);
    return true;
  }

  private keep(bytes: Buffer, start: number, end: number): void {
    this.bytes = bytes;
    this.countedBytes = bytes.length;
    this.start = start;
    this.end = end;
    this.pace.begin();
  }

  private drop(bytes: Buffer, countedBytes: number): void {
    this.budget.giveBack(InFlight.Answers, countedBytes);
    freeBuffer(bytes);
  }
}
