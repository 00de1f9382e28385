/** Time as an injected dependency: the real clocks in a node, manual ones in tests. */
export interface Clock {
  /** Milliseconds since the Unix epoch: for stored and reported times; the clock may be set. */
  nowMs(): number;
  /** Milliseconds since an arbitrary moment, unaffected by settings of the clock: for pauses and time limits. */
  monotonicMs(): number;
}

export interface Scheduler extends Clock {
  /** Calls `run` once after `delayMs`, unless the returned function is called before. */
  after(delayMs: number, run: () => void): () => void;
}

/** The clock and timers of the machine. */
export const systemScheduler: Scheduler = {
  nowMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  after(delayMs, run) {
    const timer = setTimeout(run, delayMs);
    return () => clearTimeout(timer);
  },
};
