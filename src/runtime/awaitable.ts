/** Results that are available at once or later: a cache hit must not allocate a promise. */

/** The result of a call, at once or later. */
export type Awaitable<T> = T | Promise<T>;

/** Continues without a promise if the value is available. */
export function after<T, R>(value: Awaitable<T>, next: (value: T) => Awaitable<R>): Awaitable<R> {
  return value instanceof Promise ? value.then(next) : next(value);
}
