/**
 * What every simulated replacement policy is: a cache that holds so many items of equal size. Keys are dense numbers,
 * `0 .. distinct - 1`, so that a policy keeps all its state in typed arrays.
 */
export interface Policy {
  readonly name: string;
  /** One request: true = a hit; on a miss the key is brought in. */
  request(key: number): boolean;
}

/** A sequence of requests for dense keys. */
export interface Requests {
  readonly keys: Int32Array;
  /** How many different keys there are: each is below it. */
  readonly distinct: number;
}

/** Makes a policy for a cache of `capacity` items over these requests (only OPT looks at more than `distinct`). */
export type PolicyFactory = (capacity: number, requests: Requests) => Policy;

/** Replays the requests through an empty cache; gives hits ÷ requests. */
export function hitRatio(factory: PolicyFactory, capacity: number, requests: Requests): number {
  if (!Number.isInteger(capacity) || capacity < 1) throw new RangeError(`capacity ${capacity} is not 1 or more`);
  const policy = factory(capacity, requests);
  let hits = 0;
  for (const key of requests.keys) if (policy.request(key)) hits++;
  return requests.keys.length === 0 ? 0 : hits / requests.keys.length;
}

/** Reads a cell of a typed array whose index is known to be inside it. */
export function at(cells: Int32Array | Uint8Array, index: number): number {
  return cells[index] ?? 0;
}
