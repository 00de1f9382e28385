/** The one form in which an outcome is told later and without a promise. */

/** Told once, with one of the two calls, and never before the call that takes it has returned. Neither may throw. */
export interface Completion<T> {
  done(outcome: T): void;
  /** With what a promise would be rejected with. */
  failed(error: unknown): void;
}

/**
 * A promise of what a call gives at once or tells its completion later (null): for paths that are not hot. Rejects with
 * what the call throws, too.
 */
export function promised<T>(call: (completion: Completion<T>) => T | null): Promise<T> {
  return new Promise((done, failed) => {
    const outcome = call({ done, failed });
    if (outcome !== null) done(outcome);
  });
}
