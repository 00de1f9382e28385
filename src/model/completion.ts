/** The one form in which an outcome is told later and without a promise. */

import type { Awaitable } from "../runtime/awaitable.ts";

/** Told once, with one of the two calls, and never before the call that takes it has returned. Neither may throw. */
export interface Completion<T> {
  done(outcome: T): void;
  /** With what a promise would be rejected with. */
  failed(error: unknown): void;
}

/** What a call gives at once, or a promise of what it tells its completion later (null): for paths that are not hot. */
export function asAwaitable<T>(call: (completion: Completion<T>) => T | null): Awaitable<T> {
  let late: PromiseWithResolvers<T> | null = null;
  const outcome = call({ done: (told) => late?.resolve(told), failed: (error) => late?.reject(error) });
  if (outcome !== null) return outcome;
  late = Promise.withResolvers<T>();
  return late.promise;
}

/** Gives what is there at once; null = the completion is told it later. */
export function told<T>(outcome: Awaitable<T>, completion: Completion<T>): T | null {
  if (!(outcome instanceof Promise)) return outcome;
  outcome.then(
    (late) => completion.done(late),
    (error: unknown) => completion.failed(error),
  );
  return null;
}
