import { type ByteBudget, InFlight } from "../../runtime/byte-budget.ts";
import { freeBuffer } from "./free-buffer.ts";

/** The part of a socket that an answer needs. */
export interface ByteSink {
  /** @returns the number of bytes accepted; negative = closed */
  write(bytes: Buffer, offset: number, length: number): number;
}

/** A part of the answers that the client has not received yet. */
export interface AnswerPart {
  readonly isSent: boolean;
  /** Sends as much as the socket accepts, up to `mostBytes`. @returns the number of bytes accepted, or `LOST` */
  send(socket: ByteSink, mostBytes: number): number;
  /** Frees the bytes that are held. To be called once. */
  drop(): void;
}

/** The rest of the answer, or its client, is gone: the answer can't be completed. */
export const LOST = -1;

/** Bytes owned by the answer, with their share of the budget. */
export class HeldBytes implements AnswerPart {
  constructor(
    private readonly budget: ByteBudget,
    private readonly bytes: Buffer,
    private start: number,
    private readonly end: number,
    private readonly countedBytes: number,
  ) {}

  get isSent(): boolean {
    return this.start === this.end;
  }

  send(socket: ByteSink, mostBytes: number): number {
    const sent = socket.write(this.bytes, this.start, Math.min(mostBytes, this.end - this.start));
    // While a socket is paused, a reset by the client shows only here.
    if (sent < 0) return LOST;
    this.start += sent;
    return sent;
  }

  drop(): void {
    this.budget.giveBack(InFlight.Answers, this.countedBytes);
    freeBuffer(this.bytes);
  }
}
