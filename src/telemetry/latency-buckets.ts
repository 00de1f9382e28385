/**
 * The buckets of all latency histograms. They are those of OpenTelemetry's exponential histogram at scale 4, so they
 * can be exported without loss. The upper bound of a bucket is 2^(1/16) = 1.044 times its lower bound, so a percentile
 * read from the buckets is at most 4.4 % away from the true one.
 */

/** Log2 of the buckets per power of two: the scale of the exponential histogram. */
export const SCALE = 4;
export const PER_OCTAVE = 2 ** SCALE;
/** The first bucket holds all durations up to 2^-18 s = 3.8 µs. */
const FIRST_EXPONENT = -18;
/** The last bounded bucket ends at 2^6 s = 64 s. */
const LAST_EXPONENT = 6;

/** The index in the exponential histogram of the bucket that `bounds[0]` ends. */
export const FIRST_INDEX = FIRST_EXPONENT * PER_OCTAVE - 1;

const BOUNDED = (LAST_EXPONENT - FIRST_EXPONENT) * PER_OCTAVE + 1;
/** The last bucket has no upper bound. */
export const BUCKETS = BOUNDED + 1;

/** Upper bounds in seconds, inclusive, of all buckets but the last. */
export const UPPER_BOUNDS_S: readonly number[] = Array.from({ length: BOUNDED }, (_, bucket) =>
  Number((2 ** (FIRST_EXPONENT + bucket / PER_OCTAVE)).toPrecision(6)),
);

const LOG2_MS_PER_S = Math.log2(1000);

/** The index of the bucket for a duration. */
export function bucketOf(durationMs: number): number {
  const exponent = Math.log2(durationMs) - LOG2_MS_PER_S - FIRST_EXPONENT;
  // NaN if the clock went back.
  if (!(exponent > 0)) return 0;
  const bucket = Math.ceil(exponent * PER_OCTAVE);
  return Math.min(bucket, BOUNDED);
}

/** A traced request, as an example of its bucket. */
export interface Exemplar {
  /** 32 hexadecimal digits. */
  readonly traceId: string;
  /** 16 hexadecimal digits. */
  readonly spanId: string;
  readonly seconds: number;
  readonly unixMs: number;
}

export interface LatencyHistogram {
  /** One count per bucket, `BUCKETS` in all. */
  readonly counts: readonly number[];
  readonly count: number;
  readonly sumSeconds: number;
  readonly exemplar: Exemplar | null;
}

/** The quantile in seconds: the geometric middle of its bucket. Null if nothing was counted. */
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
