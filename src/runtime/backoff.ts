/** How long to wait before the next try: twice as long after each failure in a row. */

export interface BackoffLimits {
  readonly firstMs: number;
  readonly maxMs: number;
}

/** The wait after `failures` in a row (from 1), in ms. */
export function doubledMs(failures: number, { firstMs, maxMs }: BackoffLimits): number {
  return Math.min(maxMs, firstMs * 2 ** (failures - 1));
}

/** As `doubledMs`, with the upper half at random, so that those who failed together don't come back together. */
export function backoffMs(failures: number, options: BackoffLimits & { readonly random: () => number }): number {
  return Math.ceil(doubledMs(failures, options) * (0.5 + options.random() / 2));
}
