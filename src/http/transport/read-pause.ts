import { type ByteBudget, InFlight } from "../../runtime/byte-budget.ts";
import { CountedBytes } from "../../runtime/counted-bytes.ts";
import type { ByteSocket } from "./connection-context.ts";
import type { Turns, TurnTaker } from "./turns.ts";

/**
 * Pauses reading from a socket until the received bytes, and their share of the budget, are processed; or until it is
 * the turn of a connection that sends much.
 */
export class ReadPause implements TurnTaker {
  private isOn = false;
  private waitsForTurn = false;
  private isOver = false;
  private readonly counted: CountedBytes;

  constructor(
    private readonly socket: Pick<ByteSocket, "pause" | "resume">,
    budget: ByteBudget,
    private readonly turns: Turns,
  ) {
    this.counted = new CountedBytes(budget, InFlight.Bodies);
  }

  /** @returns false if the budget has no room for the received bytes */
  begin(arrivedBytes: number): boolean {
    if (this.isOn) return true;
    this.isOn = true;
    if (!this.waitsForTurn) this.socket.pause();
    return this.counted.take(arrivedBytes);
  }

  end(): void {
    if (!this.isOn) return;
    this.isOn = false;
    this.counted.giveBack();
    if (!this.waitsForTurn) this.socket.resume();
  }

  /** Much has arrived: other connections that send much are read from first. */
  waitForTurn(): void {
    if (this.waitsForTurn) return;
    this.waitsForTurn = true;
    if (!this.isOn) this.socket.pause();
    this.turns.wait(this);
  }

  takeTurn(): void {
    this.waitsForTurn = false;
    if (!this.isOn && !this.isOver) this.socket.resume();
  }

  /** To be called once the socket is closed and the bytes are gone. */
  giveBack(): void {
    this.isOver = true;
    this.counted.giveBack();
  }
}
