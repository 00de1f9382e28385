import { type ByteBudget, InFlight } from "../../runtime/byte-budget.ts";
import { freeBuffer } from "./free-buffer.ts";

/** As much of a socket as an answer needs. */
export interface ByteSink {
  /** @returns how many bytes were taken; negative = closed */
  write(bytes: Buffer, offset: number, length: number): number;
}

/** A part of the answers that a client hasn't taken yet. */
export interface AnswerPart {
  readonly isSent: boolean;
  /** Sends as much as the socket takes, up to `mostBytes`. @returns the bytes that it took, or `LOST` */
  send(socket: ByteSink, mostBytes: number): number;
  /** Gives back what is held. To be called once. */
  drop(): void;
}

/** What is to be sent isn't there any more, or its client: the answer can't be finished. */
export const LOST = -1;

/** Bytes that belong to the answer, and what the budget counts for them. */
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
    // A client that has reset its connection is told of in no other way where its socket is paused.
    if (sent < 0) return LOST;
    this.start += sent;
    return sent;
  }

  drop(): void {
    this.budget.giveBack(InFlight.Answers, this.countedBytes);
    freeBuffer(this.bytes);
  }
}
