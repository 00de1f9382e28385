import type { Awaitable } from "../engine/engine.ts";

/** Goes on with a value that is there, or will be: without a promise in the first case. */
export function after<T, R>(value: Awaitable<T>, next: (value: T) => Awaitable<R>): Awaitable<R> {
  return value instanceof Promise ? value.then(next) : next(value);
}
