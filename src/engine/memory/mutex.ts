/** Tries to take a lock before a thread goes to sleep for it. Locks are held for about a microsecond. */
const SPINS = 200;
/** A sleeper looks again after this long, even if nobody woke it, in ms. */
const SLEEP_MS = 2;

/**
 * A lock in one word of shared memory: 0 = free, 1 = taken, 2 = taken and somebody sleeps.
 *
 * Source: U. Drepper, "Futexes Are Tricky" (2011), section 6, "Mutex, Take 2".
 */
export function lockMutex(words: Int32Array, at: number): void {
  if (Atomics.compareExchange(words, at, 0, 1) === 0) return;
  for (let spin = 0; spin < SPINS; spin++) {
    if (Atomics.load(words, at) === 0 && Atomics.compareExchange(words, at, 0, 1) === 0) return;
  }
  while (Atomics.exchange(words, at, 2) !== 0) Atomics.wait(words, at, 2, SLEEP_MS);
}

/** Gives the lock back. */
export function unlockMutex(words: Int32Array, at: number): void {
  if (Atomics.exchange(words, at, 0) === 2) Atomics.notify(words, at, 1);
}
