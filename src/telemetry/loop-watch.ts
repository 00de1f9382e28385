import type { RequestCounts } from "./request-counts.ts";

export interface LoopWatchOptions {
  readonly counts: RequestCounts;
  /** A monotonic clock, in ms. */
  readonly monotonicMs: () => number;
  /** Called on each measurement. */
  readonly onLook: () => void;
}

const LOOK_MS = 100;

/** Measures how late the timers of this thread run, which is how long a request may have to wait. */
export class LoopWatch {
  readonly #timer: ReturnType<typeof setInterval>;
  #dueMs: number;

  constructor(private readonly options: LoopWatchOptions) {
    this.#dueMs = options.monotonicMs() + LOOK_MS;
    this.#timer = setInterval(() => this.#look(), LOOK_MS);
    this.#timer.unref();
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  #look(): void {
    const nowMs = this.options.monotonicMs();
    this.options.counts.addLoopDelay(Math.max(0, nowMs - this.#dueMs));
    this.#dueMs = nowMs + LOOK_MS;
    this.options.onLook();
  }
}
