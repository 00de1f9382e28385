/**
 * The buckets of every latency histogram: those of OpenTelemetry's exponential histogram at scale 4, so that they can be
 * exported as one without loss. A bucket's upper bound is 2^(1/16) = 1.044 times its lower one: whatever percentile is
 * read from the buckets is at most 4.4 % away from the true one.
 */

/** Buckets per power of two, as a power of two: the scale of the exponential histogram. */
export const SCALE = 4;
export const PER_OCTAVE = 2 ** SCALE;
/** The first bucket holds everything up to 2^-18 s = 3.8 µs … */
const FIRST_EXPONENT = -18;
/** … and the one before the last ends at 2^6 s = 64 s. */
const LAST_EXPONENT = 6;

/** The exponential histogram's index of the bucket that `bounds[0]` ends. */
export const FIRST_INDEX = FIRST_EXPONENT * PER_OCTAVE - 1;

const BOUNDED = (LAST_EXPONENT - FIRST_EXPONENT) * PER_OCTAVE + 1;
/** The last one has no upper bound. */
export const BUCKETS = BOUNDED + 1;

/** Upper bounds in seconds, inclusive, of all buckets but the last. */
export const UPPER_BOUNDS_S: readonly number[] = Array.from({ length: BOUNDED }, (_, bucket) =>
  Number((2 ** (FIRST_EXPONENT + bucket / PER_OCTAVE)).toPrecision(6)),
);

const LOG2_MS_PER_S = Math.log2(1000);

/** The bucket of a duration. */
export function bucketOf(durationMs: number): number {
  const exponent = Math.log2(durationMs) - LOG2_MS_PER_S - FIRST_EXPONENT;
  // Not a number where the clock went back.
  if (!(exponent > 0)) return 0;
  const bucket = Math.ceil(exponent * PER_OCTAVE);
  return Math.min(bucket, BOUNDED);
}

/** A request that was traced, as an example of its bucket. */
export interface Exemplar {
  /** 32 hexadecimal digits. */
  readonly traceId: string;
  /** 16 hexadecimal digits. */
  readonly spanId: string;
  readonly seconds: number;
  readonly unixMs: number;
}

export interface LatencyHistogram {
  /** Of each bucket, `BUCKETS` numbers. */
  readonly counts: readonly number[];
  readonly count: number;
  readonly sumSeconds: number;
  readonly exemplar: Exemplar | null;
}

/**
 * The duration below which a share of all lie, in seconds: the geometric middle of the bucket that holds it. Null where
 * nothing was counted.
 */
export function quantileOf({ counts, count }: LatencyHistogram, share: number): number | null {
  const rank = Math.max(1, Math.ceil(share * count));
  let seen = 0;
  for (const [bucket, here] of counts.entries()) {
    seen += here;
    if (seen < rank) continue;
    const upper = UPPER_BOUNDS_S[Math.min(bucket, BOUNDED - 1)] ?? 0;
    return bucket === 0 || bucket === BOUNDED ? upper : upper / 2 ** (0.5 / PER_OCTAVE);
  }
  return null;
}
