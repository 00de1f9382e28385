import type { Scheduler } from "../runtime/scheduler.ts";

/** Limits the bytes sent per second: a token bucket that one message may overdraw. */
export class Bandwidth {
  #tokens: number;
  #filledAtMs: number;

  /** `bytesPerSecond` 0 = no limit. */
  constructor(
    private readonly bytesPerSecond: number,
    private readonly scheduler: Scheduler,
  ) {
    this.#tokens = bytesPerSecond;
    this.#filledAtMs = scheduler.monotonicMs();
  }

  /** How long to wait before the next message, in ms. */
  get waitMs(): number {
    if (this.bytesPerSecond === 0) return 0;
    this.#fill();
    return this.#tokens > 0 ? 0 : Math.ceil((-this.#tokens / this.bytesPerSecond) * 1000) + 1;
  }

  spend(bytes: number): void {
    this.#tokens -= bytes;
  }

  #fill(): void {
    const nowMs = this.scheduler.monotonicMs();
    const passedMs = nowMs - this.#filledAtMs;
    this.#tokens = Math.min(this.bytesPerSecond, this.#tokens + (passedMs / 1000) * this.bytesPerSecond);
    this.#filledAtMs = nowMs;
  }
}
