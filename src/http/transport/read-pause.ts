import { type ByteBudget, InFlight } from "../../runtime/byte-budget.ts";
import { CountedBytes } from "../../runtime/counted-bytes.ts";
import type { ByteSocket } from "./connection-context.ts";
import type { Turns, TurnTaker } from "./turns.ts";

/**
 * A socket that isn't read from: until what arrived already is handled, and what the budget counts for that; or until it
 * is the turn of a connection that sends much.
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

  /** @returns false where the budget has no room for the bytes that have arrived */
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

  /** Much has come: others that send much are read from first. */
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

  /** To be called once the socket is closed, and the bytes are gone. */
  giveBack(): void {
    this.isOver = true;
    this.counted.giveBack();
  }
}
