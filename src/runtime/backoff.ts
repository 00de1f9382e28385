export interface BackoffOptions {
  readonly firstMs: number;
  readonly maxMs: number;
  /** In [0, 1). */
  readonly random: () => number;
}

/** Wait before the next try after `failures` in a row (from 1), in ms: doubling, with the upper half at random. */
export function backoffMs(failures: number, options: BackoffOptions): number {
  const fullMs = Math.min(options.maxMs, options.firstMs * 2 ** (failures - 1));
  return Math.ceil(fullMs * (0.5 + options.random() / 2));
}
