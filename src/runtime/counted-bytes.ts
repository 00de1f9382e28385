import type { ByteBudget, InFlight } from "./byte-budget.ts";

/** One holder's share of the budget, changed and returned as a whole. */
export class CountedBytes {
  private bytes = 0;

  constructor(
    private readonly budget: ByteBudget,
    private readonly use: InFlight,
  ) {}

  /** Replaces the held amount by `bytes`. False = no room, and the held amount stays. */
  take(bytes: number): boolean {
    if (!this.budget.take(this.use, bytes)) return false;
    this.giveBack();
    this.bytes = bytes;
    return true;
  }

  /** Like `take`, for bytes that are already held and can't be refused. */
  count(bytes: number): void {
    this.giveBack();
    this.budget.count(this.use, bytes);
    this.bytes = bytes;
  }

  /** Passes the obligation to return the bytes to the caller. @returns how many there are */
  handOver(): number {
    const { bytes } = this;
    this.bytes = 0;
    return bytes;
  }

  giveBack(): void {
    if (this.bytes === 0) return;
    this.budget.giveBack(this.use, this.bytes);
    this.bytes = 0;
  }
}
