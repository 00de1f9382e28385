import type { Scheduler } from "../runtime/scheduler.ts";

/** How much may be sent: a bucket that fills at a rate and may be overdrawn by one message. */
export class Bandwidth {
  #tokens: number;
  #filledAtMs: number;

  /** `bytesPerSecond` 0 = no bound. */
  constructor(
    private readonly bytesPerSecond: number,
    private readonly scheduler: Scheduler,
  ) {
    this.#tokens = bytesPerSecond;
    this.#filledAtMs = scheduler.nowMs();
  }

  /** How long nothing more may be sent, in ms. */
  get waitMs(): number {
    if (this.bytesPerSecond === 0) return 0;
    this.#fill();
    return this.#tokens > 0 ? 0 : Math.ceil((-this.#tokens / this.bytesPerSecond) * 1000) + 1;
  }

  spend(bytes: number): void {
    this.#tokens -= bytes;
  }

  #fill(): void {
    const nowMs = this.scheduler.nowMs();
    const passedMs = Math.max(0, nowMs - this.#filledAtMs);
    this.#tokens = Math.min(this.bytesPerSecond, this.#tokens + (passedMs / 1000) * this.bytesPerSecond);
    this.#filledAtMs = nowMs;
  }
}
