import { describe, expect, test } from "bun:test";
import { callsDuring } from "./coverage.ts";
import { readOrder } from "./order.ts";
import { Proof } from "./proof.ts";
import { Rivals } from "./rivals.ts";

const seeds = Array.from({ length: 40 }, (_, seed) => seed);
const STEPS = 160;

/** What changes nothing, what reads under the lock, and what is done where nothing at all can leave. */
const ELSEWHERE =
  /^(Sweeper\.(scan|entries|position|resume|keyText)|Reader\.(get|peek|read|readLocked|hit|miss)|Writer\.(stampOf|fits|deleteWithoutRoom)|Reclaimer\.(makeSome|segmentsFor|canMake)|RecordWriter\.couldStore|IndexTable\.firstHash)$/;

describe("a reader at every step of a writer", () => {
  const calls = new Map<string, number>();
  let besideLocks = 0;
  const count = (more: ReadonlyMap<string, number>): void => {
    for (const [name, times] of more) calls.set(name, (calls.get(name) ?? 0) + times);
  };

  test.each(seeds)("finds the value before or the value after, seed %d", async (seed) => {
    const proof = new Proof(seed);
    count(
      await callsDuring(async () => {
        await proof.run(STEPS);
      }),
    );
    expect(proof.report.stores).toBeGreaterThan(1_000);
    expect(proof.report.undecided).toBeLessThan(proof.report.interleavedReads * 0.7);
  });

  test.each(seeds)("may meet two writers, seed %d", async (seed) => {
    const rivals = new Rivals(seed);
    count(
      await callsDuring(async () => {
        await rivals.run(STEPS);
      }),
    );
    expect(rivals.report.betweenLocks).toBeGreaterThan(20);
    expect(rivals.report.duringGets).toBeGreaterThan(0);
    besideLocks += rivals.report.besideLocks;
  });

  test("has met writers in two shards at once", () => {
    expect(besideLocks).toBeGreaterThan(500);
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
