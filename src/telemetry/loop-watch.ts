import type { RequestCounts } from "./request-counts.ts";

export interface LoopWatchOptions {
  readonly counts: RequestCounts;
  /** Of a clock that never goes back, in ms. */
  readonly monotonicMs: () => number;
  /** Runs with each look. */
  readonly onLook: () => void;
}

const LOOK_MS = 100;

/** Measures how late timers of this thread run: what a request waits for that comes at a bad moment. */
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
