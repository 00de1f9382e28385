/** Attempts to take a lock before a thread sleeps. Locks are held for about a microsecond. */
const SPINS = 200;
/** A sleeper tries again after this long, even if it was not woken, in ms. */
const SLEEP_MS = 2;
/** Sleeps without a wake-up after which the owner of a lock counts as dead: some 10 s in which it could have run. */
const MOST_SLEEPS = 5_000;

/** A lock's word: its owner's number plus 1, and whether a thread sleeps. 0 = free. */
const OWNER_MASK = 0xffff;
const WAITED = 1 << 16;
/** A change failed while the lock was held, so the protected data is inconsistent. */
const BROKEN = -1;

/** The memory is inconsistent: the process must end. Its entries are lost, as after any restart. */
export class EngineBrokenError extends Error {
  readonly code = "ERR_ENGINE_BROKEN";
}

/**
 * Locks in words of shared memory, as used by one thread. A lock records its owner, so that other threads notice when
 * that has died. A change that fails half way leaves its lock broken, so that no thread uses the inconsistent data.
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

  /** Releases the lock, unless it is broken. */
  unlock(at: number): void {
    const { words, own } = this;
    if (Atomics.compareExchange(words, at, own, 0) === own) return;
    if (Atomics.compareExchange(words, at, own | WAITED, 0) === (own | WAITED)) Atomics.notify(words, at, 1);
  }

  /**
   * A change under a lock of this thread has failed: marks the lock as broken for all threads. Returns the error to be
   * thrown.
   */
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
