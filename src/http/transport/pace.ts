import type { ByteBudget } from "../../runtime/byte-budget.ts";
import type { HttpLimits } from "./limits.ts";

/** What the pace is judged by: the limits, the state of the budget, and the time as of the last sweep. */
export interface PaceContext {
  readonly limits: HttpLimits;
  readonly budget: ByteBudget;
  readonly nowMs: number;
  readonly sweepIntervalMs: number;
}

/** How fast a client sends its body or takes its answer: bytes over a window of time. */
export class Pace {
  private sinceMs = 0;
  private movedBytes = 0;

  constructor(private readonly context: PaceContext) {}

  begin(): void {
    this.sinceMs = this.context.nowMs;
    this.movedBytes = 0;
  }

  moved(bytes: number): void {
    this.movedBytes += bytes;
  }

  /** To be asked in every sweep. Whoever was quick before and stands still now is found in the next window. */
  isTooSlow(windowMs: number): boolean {
    const { limits, budget, nowMs, sweepIntervalMs } = this.context;
    const elapsedMs = nowMs - this.sinceMs;
    // `sinceMs` may have been behind by one sweep interval: nobody is cut early for it.
    const isOver = elapsedMs >= windowMs + sweepIntervalMs;
    if (isOver && this.isBelow(limits.minBytesPerSecond, elapsedMs)) return true;
    const isDue = elapsedMs >= limits.tightTimeoutMs + sweepIntervalMs;
    if (isDue && budget.isTight && this.isBelow(limits.tightBytesPerSecond, elapsedMs)) return true;
    if (isOver) this.begin();
    return false;
  }

  private isBelow(bytesPerSecond: number, elapsedMs: number): boolean {
    return this.movedBytes * 1000 < bytesPerSecond * elapsedMs;
  }
}
