import type { ByteBudget, InFlight } from "./byte-budget.ts";

/** What one holder has in the budget: it is changed, and given back, as a whole. */
export class CountedBytes {
  private bytes = 0;

  constructor(
    private readonly budget: ByteBudget,
    private readonly use: InFlight,
  ) {}

  /** Takes so many bytes in place of what is held. False = there is no room, and what is held stays. */
  take(bytes: number): boolean {
    if (!this.budget.take(this.use, bytes)) return false;
    this.giveBack();
    this.bytes = bytes;
    return true;
  }

  /** As `take`, for bytes that are there already and can't be refused. */
  count(bytes: number): void {
    this.giveBack();
    this.budget.count(this.use, bytes);
    this.bytes = bytes;
  }

  /** Somebody else gives them back. @returns how many there are */
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
