import type { ByteBudget } from "../../runtime/byte-budget.ts";
import type { HttpLimits } from "./limits.ts";

/** What the rate is judged by: the limits, the state of the budget, and the time of the last sweep. */
export interface PaceContext {
  readonly limits: HttpLimits;
  readonly budget: ByteBudget;
  readonly monotonicMs: number;
  readonly sweepIntervalMs: number;
}

/** The rate at which a client sends its body or accepts its answer: bytes over a window of time. */
export class Pace {
  private sinceMs = 0;
  private movedBytes = 0;

  constructor(private readonly context: PaceContext) {}

  begin(): void {
    this.sinceMs = this.context.monotonicMs;
    this.movedBytes = 0;
  }

  moved(bytes: number): void {
    this.movedBytes += bytes;
  }

  /** To be called in every sweep. A client that was fast and has stopped is detected in the next window. */
  isTooSlow(windowMs: number): boolean {
    const { limits, budget, monotonicMs, sweepIntervalMs } = this.context;
    const elapsedMs = monotonicMs - this.sinceMs;
    // `sinceMs` may be late by one sweep interval, so that no client is cut early.
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
