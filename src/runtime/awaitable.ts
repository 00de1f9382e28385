/** Values that are there at once, or later: a hit must not cost a promise. */

/** What a call gives at once, or later. */
export type Awaitable<T> = T | Promise<T>;

export function after<T, R>(value: Awaitable<T>, next: (value: T) => Awaitable<R>): Awaitable<R> {
  return value instanceof Promise ? value.then(next) : next(value);
}
