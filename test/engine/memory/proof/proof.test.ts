import { describe, expect, test } from "bun:test";
import { callsDuring } from "./coverage.ts";
import { readOrder } from "./order.ts";
import { Proof } from "./proof.ts";
import { Rivals } from "./rivals.ts";

const SEEDS = 14;

/** What changes nothing, what reads under the lock, and what is done where nothing at all can leave. */
const ELSEWHERE =
  /^(Sweeper\.(scan|entries|position|resume|keyText)|Reader\.(get|peek|read|readLocked|hit|miss)|Writer\.(stampOf|fits|deleteWithoutRoom)|RoomMaker\.makeSome)$/;

describe("a reader at every step of a writer", () => {
  const calls = new Map<string, number>();
  const covered = <T>(action: () => T): T => {
    let result: T | undefined;
    for (const [name, count] of callsDuring(() => (result = action()))) calls.set(name, (calls.get(name) ?? 0) + count);
    return result as T;
  };

  test.each(Array.from({ length: SEEDS }, (_, seed) => seed))(
    "finds the value before or the value after, seed %d",
    (seed) => {
      const report = covered(() => new Proof(seed).run(160));
      expect(report.stores).toBeGreaterThan(1_000);
      expect(report.undecided).toBeLessThan(report.interleavedReads * 0.7);
    },
  );

  test.each(Array.from({ length: SEEDS }, (_, seed) => seed))("may meet two writers, seed %d", (seed) => {
    const report = covered(() => new Rivals(seed).run(160));
    expect(report.betweenLocks).toBeGreaterThan(20);
    expect(report.duringGets).toBeGreaterThan(0);
  });

  test("has met every method that changes the memory", () => {
    const unmet = [...calls].filter(([name, count]) => count === 0 && !ELSEWHERE.test(name)).map(([name]) => name);
    expect(unmet).toEqual([]);
  });
});

test("a reader lets no load pass those of the sequences", () => {
  // S and R = the index and recycle sequences, F = a fence, - = any other load.
  expect(readOrder(10, "value")).toMatch(/^SFR-+FS-+FR$/);
  expect(readOrder(3_000, "value")).toMatch(/^SFR-+FS(-+FR)+$/);
  expect(readOrder(10, "no value")).toMatch(/^SFR-+FSFR$/);
  expect(readOrder(-1, "value")).toMatch(/^SFR-+FS$/);
});
