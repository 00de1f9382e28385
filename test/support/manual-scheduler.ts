import type { Scheduler } from "../../src/runtime/scheduler.ts";

/** Time that stands still until a test moves it. As with a real one, timers don't care what the wall clock is set to. */
export class ManualScheduler implements Scheduler {
  readonly #startMs: number;
  #monotonicMs = 0;
  #aheadMs = 0;
  readonly #timers = new Set<{ readonly atMs: number; readonly run: () => void }>();

  constructor(startMs = 1_800_000_000_000) {
    this.#startMs = startMs;
  }

  nowMs(): number {
    return this.#startMs + this.#monotonicMs + this.#aheadMs;
  }

  monotonicMs(): number {
    return this.#monotonicMs;
  }

  after(delayMs: number, run: () => void): () => void {
    const timer = { atMs: this.#monotonicMs + delayMs, run };
    this.#timers.add(timer);
    return () => this.#timers.delete(timer);
  }

  /** When the next timer is due, in ms from now; null = there is none. */
  nextInMs(): number | null {
    const times = [...this.#timers].map((timer) => timer.atMs - this.#monotonicMs);
    return times.length === 0 ? null : Math.min(...times);
  }

  /** Moves on by `ms`, running timers in order, and lets promises settle in between. */
  async advance(ms: number): Promise<void> {
    const endMs = this.#monotonicMs + ms;
    await settled();
    for (;;) {
      const due = [...this.#timers].filter((timer) => timer.atMs <= endMs).sort((a, b) => a.atMs - b.atMs)[0];
      if (due === undefined) break;
      this.#timers.delete(due);
      this.#monotonicMs = Math.max(this.#monotonicMs, due.atMs);
      due.run();
      await settled();
    }
    this.#monotonicMs = endMs;
  }

  /** Sets the wall clock; timers and the monotonic clock are untouched. */
  jump(ms: number): void {
    this.#aheadMs += ms;
  }
}

/** Lets everything run that needs no time. */
export async function settled(): Promise<void> {
  for (let i = 0; i < 10; i++) await new Promise<void>((resolve) => setImmediate(resolve));
}
