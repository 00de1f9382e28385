import { describe, expect, test } from "bun:test";
import { backoffMs, doubledMs } from "../../src/runtime/backoff.ts";

const limits = { firstMs: 50, maxMs: 1000 };

describe("the back-off", () => {
  test("doubles from the first wait to the longest, however many failures there were", () => {
    expect([1, 2, 3, 4, 5, 6, 5000].map((failures) => doubledMs(failures, limits))).toEqual([
      ...[50, 100, 200, 400, 800, 1000, 1000],
    ]);
  });

  test("leaves the upper half of a wait to chance", () => {
    expect(backoffMs(3, { ...limits, random: () => 0 })).toBe(100);
    expect(backoffMs(3, { ...limits, random: () => 0.5 })).toBe(150);
    expect(backoffMs(3, { ...limits, random: () => 0.999 })).toBe(200);
  });
});
