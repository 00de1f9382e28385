/** Time as it is handed to what waits: real in the node, made by hand in tests. */
export interface Scheduler {
  /** Milliseconds since the Unix epoch. */
  nowMs(): number;
  /** Calls `run` once after `delayMs`, unless the function that it gives is called before. */
  after(delayMs: number, run: () => void): () => void;
}

/** Time of the machine. */
export const systemScheduler: Scheduler = {
  nowMs: () => Date.now(),
  after(delayMs, run) {
    const timer = setTimeout(run, delayMs);
    return () => clearTimeout(timer);
  },
};
