import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import {
  BUCKETS,
  bucketOf,
  FIRST_INDEX,
  type LatencyHistogram,
  quantileOf,
  SCALE,
  UPPER_BOUNDS_S,
} from "../../src/telemetry/latency-buckets.ts";

function histogramOf(durationsMs: readonly number[]): LatencyHistogram {
  const counts = new Array<number>(BUCKETS).fill(0);
  for (const ms of durationsMs) counts[bucketOf(ms)] = (counts[bucketOf(ms)] ?? 0) + 1;
  const sumSeconds = durationsMs.reduce((sum, ms) => sum + ms, 0) / 1000;
  return { counts, count: durationsMs.length, sumSeconds, exemplar: null };
}

/** As Prometheus' `histogram_quantile` has it: linear between the bounds of the bucket. */
function prometheusQuantile(counts: readonly number[], count: number, share: number): number {
  const rank = share * count;
  let below = 0;
  for (const [bucket, here] of counts.entries()) {
    if (below + here >= rank && here > 0) {
      const lower = bucket === 0 ? 0 : (UPPER_BOUNDS_S[bucket - 1] ?? 0);
      const upper = UPPER_BOUNDS_S[bucket] ?? lower;
      return lower + ((upper - lower) * (rank - below)) / here;
    }
    below += here;
  }
  return 0;
}

const inRangeMs = fc.double({ min: 0.004, max: 60_000, noNaN: true });

describe("buckets of durations", () => {
  test("hold what lies between their bounds, the upper one included", () => {
    fc.assert(
      fc.property(inRangeMs, (ms) => {
        const bucket = bucketOf(ms);
        const seconds = ms / 1000;
        // The bounds are rounded to six digits.
        expect(seconds).toBeLessThanOrEqual((UPPER_BOUNDS_S[bucket] ?? 0) * (1 + 1e-5));
        expect(seconds).toBeGreaterThan((UPPER_BOUNDS_S[bucket - 1] ?? 0) * (1 - 1e-5));
      }),
    );
  });

  test("are those of an exponential histogram of OpenTelemetry", () => {
    for (let bucket = 1; bucket < UPPER_BOUNDS_S.length; bucket++) {
      const index = FIRST_INDEX + bucket;
      const upper = 2 ** ((index + 1) / 2 ** SCALE);
      expect((UPPER_BOUNDS_S[bucket] ?? 0) / upper).toBeCloseTo(1, 5);
    }
  });

  test("take what is out of range, and no number at all", () => {
    expect([0, -1, Number.NaN, 0.001].map(bucketOf)).toEqual([0, 0, 0, 0]);
    expect([64_001, 1e9, Number.POSITIVE_INFINITY].map(bucketOf)).toEqual([BUCKETS - 1, BUCKETS - 1, BUCKETS - 1]);
  });

  test("give every percentile within 5 % of the true one, ours and that of Prometheus", () => {
    fc.assert(
      fc.property(
        fc.array(inRangeMs, { minLength: 1, maxLength: 300 }),
        fc.constantFrom(0.5, 0.9, 0.99, 0.999),
        (durationsMs, share) => {
          const sorted = durationsMs.toSorted((a, b) => a - b);
          const truth = (sorted[Math.max(1, Math.ceil(share * sorted.length)) - 1] ?? 0) / 1000;
          const histogram = histogramOf(durationsMs);
          const ours = quantileOf(histogram, share) ?? 0;
          const theirs = prometheusQuantile(histogram.counts, histogram.count, share);
          for (const found of [ours, theirs]) expect(Math.abs(found - truth) / truth).toBeLessThanOrEqual(0.05);
        },
      ),
    );
  });

  test("give no percentile of nothing", () => {
    expect(quantileOf(histogramOf([]), 0.5)).toBeNull();
  });
});
