import { type ByteBudget, InFlight } from "../../runtime/byte-budget.ts";
import { type AnswerPart, HeldBytes, LOST } from "./answer-part.ts";
import type { ByteSocket } from "./connection-context.ts";
import { freeBuffer } from "./free-buffer.ts";
import { Pace, type PaceContext } from "./pace.ts";
import type { ResponseWriter } from "./response-writer.ts";
import { TURN_BYTES, type Turns, type TurnTaker } from "./turns.ts";

/** The answers that the socket has not accepted yet. Nearly always empty. */
export class OutputQueue {
  private readonly parts: AnswerPart[] = [];
  private readonly budget: ByteBudget;
  private readonly pace: Pace;
  private waitsForTurn = false;

  constructor(
    private readonly socket: ByteSocket,
    private readonly context: PaceContext & { readonly turns: Turns },
    /** Calls `send` when the turn of the kept answers has come. */
    private readonly taker: TurnTaker,
  ) {
    this.budget = context.budget;
    this.pace = new Pace(context);
  }

  get isEmpty(): boolean {
    return this.parts.length === 0;
  }

  /**
   * Sends `bytes[start .. end)`, whose buffer is reused after the call, and keeps a copy of the bytes that the socket
   * does not accept.
   *
   * @returns false if the budget has no room for the copy: nothing is kept
   */
  addShared(bytes: Buffer, start: number, end: number): boolean {
    if (start === end) return true;
    const sent = this.isEmpty ? Math.max(0, this.socket.write(bytes, start, end - start)) : 0;
    const restBytes = end - start - sent;
    if (restBytes === 0) return true;
    if (!this.budget.take(InFlight.Answers, restBytes)) return false;
    const rest = Buffer.from(bytes.subarray(start + sent, end));
    this.keep(new HeldBytes(this.budget, rest, 0, restBytes, restBytes));
    return true;
  }

  /** Sends the content of a writer, which is empty afterwards. @returns false if it can't be kept, or is lost */
  addAnswers(response: ResponseWriter): boolean {
    const { buffer, start, position, isShared } = response;
    let isKept: boolean;
    if (response.isCounted) isKept = this.add(response.handOver());
    else {
      isKept = this.addShared(buffer, start, position);
      if (!isShared) freeBuffer(buffer);
    }
    if (isKept && response.tail !== null) isKept = this.add(response.handOverTail());
    response.clear();
    return isKept;
  }

  /** Sends a part, and keeps it unless the socket accepts all of it. @returns false if it is lost */
  add(part: AnswerPart): boolean {
    const sent = this.isEmpty ? part.send(this.socket, TURN_BYTES) : 0;
    if (part.isSent || sent === LOST) part.drop();
    else this.keep(part);
    if (sent === TURN_BYTES && !part.isSent) this.waitForTurn();
    return sent !== LOST;
  }

  /**
   * Sends more of the kept answers, as much as the socket accepts and a turn allows. @returns false if they are lost
   */
  send(): boolean {
    let leftBytes = TURN_BYTES;
    for (let part = this.parts[0]; part !== undefined; part = this.parts[0]) {
      const sent = part.send(this.socket, leftBytes);
      if (sent === LOST) return false;
      this.pace.moved(sent);
      leftBytes -= sent;
      if (!part.isSent) {
        if (leftBytes === 0) this.waitForTurn();
        return true;
      }
      part.drop();
      this.parts.shift();
    }
    return true;
  }

  /** To be called when the awaited turn has come, before `send`. */
  endWait(): void {
    this.waitsForTurn = false;
  }

  private waitForTurn(): void {
    if (this.waitsForTurn) return;
    this.waitsForTurn = true;
    this.context.turns.wait(this.taker);
  }

  /** Whether the client accepts the answers too slowly. To be called in every sweep. */
  get isTooSlow(): boolean {
    return !this.isEmpty && this.pace.isTooSlow(this.context.limits.writeTimeoutMs);
  }

  clear(): void {
    for (const part of this.parts.splice(0)) part.drop();
  }

  private keep(part: AnswerPart): void {
    if (this.isEmpty) this.pace.begin();
    this.parts.push(part);
  }
}
