/** Tries to take a lock before a thread goes to sleep for it. Locks are held for about a microsecond. */
const SPINS = 200;
/** A sleeper looks again after this long, even if nobody woke it, in ms. */
const SLEEP_MS = 2;
/** Sleeps that nobody ended, after which the owner of a lock has died: some 10 s in which it had the chance to run. */
const MOST_SLEEPS = 5_000;

/** In a lock's word: its owner's number plus 1, and whether somebody sleeps. 0 = free. */
const OWNER_MASK = 0xffff;
const WAITED = 1 << 16;
/** What the lock protects was left in the middle of a change. */
const BROKEN = -1;

/** The memory can't be used any more: the process must end. What it held is gone, as after any restart. */
export class EngineBrokenError extends Error {
  readonly code = "ERR_ENGINE_BROKEN";
}

/**
 * Locks in words of shared memory, as one thread uses them. A lock knows its owner, so that the others find out when
 * that has died with it; and a change that fails half way leaves its lock broken, so that nobody sees what it left.
 *
 * Source: U. Drepper, "Futexes Are Tricky" (2011), section 6, "Mutex, Take 2".
 */
export class Locks {
  private readonly own: number;

  constructor(
    private readonly words: Int32Array,
    thread: number,
    private readonly onBroken: (error: EngineBrokenError) => void,
    private readonly mostSleeps = MOST_SLEEPS,
  ) {
    this.own = thread + 1;
  }

  /** Throws `EngineBrokenError` if the lock is broken, or its owner has died. */
  lock(at: number): void {
    if (Atomics.compareExchange(this.words, at, 0, this.own) !== 0) this.lockLater(at);
  }

  /** Gives the lock back, unless it is broken. */
  unlock(at: number): void {
    const { words, own } = this;
    if (Atomics.compareExchange(words, at, own, 0) === own) return;
    if (Atomics.compareExchange(words, at, own | WAITED, 0) === (own | WAITED)) Atomics.notify(words, at, 1);
  }

  /** What was done under a lock of this thread has failed: nobody gets the lock any more. Gives the error to be thrown. */
  breakAt(at: number, cause: unknown): EngineBrokenError {
    Atomics.store(this.words, at, BROKEN);
    Atomics.notify(this.words, at);
    return this.broken(`a change of the memory failed half way (${cause}): the node must be started anew`, cause);
  }

  private lockLater(at: number): void {
    const { words, own } = this;
    for (let spin = 0; spin < SPINS; spin++) {
      if (Atomics.load(words, at) === 0 && Atomics.compareExchange(words, at, 0, own) === 0) return;
    }
    let owner = 0;
    let sleeps = 0;
    for (;;) {
      const found = Atomics.compareExchange(words, at, 0, own | WAITED);
      if (found === 0) return;
      if (found === BROKEN) throw this.broken("another thread failed in the middle of a change", undefined);
      if ((found & WAITED) === 0 && Atomics.compareExchange(words, at, found, found | WAITED) !== found) continue;
      if ((found & OWNER_MASK) !== owner) sleeps = 0;
      owner = found & OWNER_MASK;
      if (Atomics.wait(words, at, found | WAITED, SLEEP_MS) !== "timed-out") sleeps = 0;
      else if (++sleeps > this.mostSleeps) throw this.broken(`thread ${owner - 1} has died with a lock`, undefined);
    }
  }

  private broken(message: string, cause: unknown): EngineBrokenError {
    const error = new EngineBrokenError(message, { cause });
    this.onBroken(error);
    return error;
  }
}
