/** A spin lock between threads: one word of shared memory, initially 0. It has no owner and is not reentrant. */

/** Attempts before a thread sleeps: a lock is held for nanoseconds, unless its holder was preempted. */
const SPINS = 100;

export function lock(words: Int32Array, at: number): void {
  for (let tries = 1; Atomics.compareExchange(words, at, 0, 1) !== 0; tries++) {
    if (tries >= SPINS) Atomics.wait(words, at, 1, 1);
  }
}

export function unlock(words: Int32Array, at: number): void {
  Atomics.store(words, at, 0);
  Atomics.notify(words, at, 1);
}
