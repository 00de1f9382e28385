/** Exponential back-off: the pause before a retry doubles with each failure in a row. */

export interface BackoffLimits {
  readonly firstMs: number;
  readonly maxMs: number;
}

/** The pause after `failures` in a row (from 1), in ms. */
export function doubledMs(failures: number, { firstMs, maxMs }: BackoffLimits): number {
  return Math.min(maxMs, firstMs * 2 ** (failures - 1));
}

/** Like `doubledMs`, with jitter over the upper half, so that callers that failed together do not retry together. */
export function backoffMs(failures: number, options: BackoffLimits & { readonly random: () => number }): number {
  return Math.ceil(doubledMs(failures, options) * (0.5 + options.random() / 2));
}
