import { type ByteBudget, InFlight } from "../runtime/byte-budget.ts";
import { CountedBytes } from "../runtime/counted-bytes.ts";
import type { ByteSocket } from "./connection-context.ts";

/** A socket that isn't read from until what arrived already is handled, and what the budget counts for that. */
export class ReadPause {
  private isOn = false;
  private readonly counted: CountedBytes;

  constructor(
    private readonly socket: Pick<ByteSocket, "pause" | "resume">,
    budget: ByteBudget,
  ) {
    this.counted = new CountedBytes(budget, InFlight.Bodies);
  }

  /** @returns false where the budget has no room for the bytes that have arrived */
  begin(arrivedBytes: number): boolean {
    if (this.isOn) return true;
    this.isOn = true;
    this.socket.pause();
    return this.counted.take(arrivedBytes);
  }

  end(): void {
    if (!this.isOn) return;
    this.isOn = false;
    this.giveBack();
    this.socket.resume();
  }

  /** To be called once the bytes are gone. */
  giveBack(): void {
    this.counted.giveBack();
  }
}
