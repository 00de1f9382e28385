/**
 * Stops asking who fails: after some failures in a row nobody is let through for a while, then one call is, to see.
 * The while doubles with each call that fails again.
 */
import { doubledMs } from "../runtime/backoff.ts";
import type { Scheduler } from "../runtime/scheduler.ts";

export interface BreakerOptions {
  /** Failures in a row that open it. */
  readonly failures: number;
  /** How long it stays open at first, and at most, in ms. */
  readonly openMs: number;
  readonly openMaxMs: number;
  readonly scheduler: Scheduler;
}

export type BreakerState = "closed" | "open" | "half-open";

export class Breaker {
  #failures = 0;
  #openings = 0;
  #openUntilMs = 0;
  #isProbing = false;

  constructor(private readonly options: BreakerOptions) {}

  get state(): BreakerState {
    if (this.#openings === 0) return "closed";
    return this.options.scheduler.monotonicMs() < this.#openUntilMs ? "open" : "half-open";
  }

  /** Whether a call may go; the caller must tell what became of it. In the half-open state, one may. */
  admits(): boolean {
    const { state } = this;
    if (state === "closed") return true;
    if (state === "open" || this.#isProbing) return false;
    this.#isProbing = true;
    return true;
  }

  /** How long until a call may go again, in ms. */
  get retryAfterMs(): number {
    return this.#openings === 0 ? 0 : Math.max(0, this.#openUntilMs - this.options.scheduler.monotonicMs());
  }

  succeeded(): void {
    this.#failures = 0;
    this.#openings = 0;
    this.#isProbing = false;
  }

  failed(): void {
    this.#failures += 1;
    const wasProbe = this.#isProbing;
    this.#isProbing = false;
    // Calls that went before it opened and fail now say nothing new.
    if (this.#openings > 0 && !wasProbe) return;
    if (this.#failures < this.options.failures && !wasProbe) return;
    const { openMs, openMaxMs, scheduler } = this.options;
    this.#openings += 1;
    this.#openUntilMs = scheduler.monotonicMs() + doubledMs(this.#openings, { firstMs: openMs, maxMs: openMaxMs });
  }
}
