import { beforeEach, describe, expect, test } from "bun:test";
import fc from "fast-check";
import { GhostTable } from "../../../src/engine/memory/ghost-table.ts";
import { GHOST_CLOCK, RECORDS_COUNTED, SHARD_GHOST_PAGES, SHARD_SEGMENTS } from "../../../src/engine/memory/layout.ts";
import { SmallShard } from "../../support/small-shard.ts";

/** A page of 512 bytes has eight buckets of 16 slots. */
const PAGE_SLOTS = 128;
const RECORDS = 80;
/** Evictions that a ghost is remembered: 0.9 per record. */
const LIFE = 72;

let parts: SmallShard;
let ghosts: GhostTable;

function grow(pages: number): void {
  parts.reserve(pages);
  ghosts.grow(parts.shard, pages);
}

function countRecords(records: number): void {
  parts.arena.control[RECORDS_COUNTED] = records;
}

/** A hash of which bucket and fingerprint differ from those of the neighbouring numbers. */
function hashOf(number: number): number {
  return Math.imul(number + 1, 0x9e3779b1);
}

beforeEach(() => {
  parts = new SmallShard();
  ghosts = new GhostTable(parts.arena, parts.pool);
  countRecords(RECORDS);
});

describe("the pages of the ghosts", () => {
  test.each([
    [0, 0, 0],
    [1, 0, 1],
    [85, 0, 1],
    [86, 0, 2],
    [85, 1, 0],
    [86, 1, 1],
    // Growing forgets everything, so it is done by half of what is there at least.
    [350, 4, 2],
    [100_000, 0, 8],
    [100_000, 8, 0],
  ])("of %d records, where there are %d, are to be %d more", (records, pages, wanted) => {
    if (pages > 0) grow(pages);
    countRecords(records);
    expect(ghosts.pagesWanted(parts.shard)).toBe(wanted);
  });

  test("belong to the shard until it gives them back", () => {
    const before = parts.pool.available();
    grow(3);
    expect([parts.control(SHARD_GHOST_PAGES), parts.control(SHARD_SEGMENTS)]).toEqual([3, 3]);
    expect(parts.pool.available()).toBe(before - 3);
    ghosts.clear(parts.shard);
    expect([parts.control(SHARD_GHOST_PAGES), parts.control(SHARD_SEGMENTS)]).toEqual([0, 0]);
    expect(parts.pool.available()).toBe(before);
  });

  test("forget everything when there are more of them", () => {
    grow(1);
    ghosts.add(parts.shard, hashOf(1));
    grow(1);
    expect(ghosts.has(parts.shard, hashOf(1))).toBe(false);
  });
});

describe("a ghost", () => {
  test("is unknown where there is no page", () => {
    ghosts.add(parts.shard, hashOf(1));
    ghosts.forget(parts.shard, hashOf(1));
    expect(ghosts.has(parts.shard, hashOf(1))).toBe(false);
    expect(parts.arena.control[GHOST_CLOCK]).toBe(0);
  });

  test("is remembered for as many evictions as there are records, less a tenth, and then no more", () => {
    grow(8);
    ghosts.add(parts.shard, hashOf(0));
    for (let evictions = 1; evictions < LIFE; evictions++) {
      ghosts.add(parts.shard, hashOf(evictions));
      expect([evictions, ghosts.has(parts.shard, hashOf(0))]).toEqual([evictions, true]);
    }
    // An age is counted in steps of two evictions here.
    for (let more = 0; more < 3; more++) ghosts.add(parts.shard, hashOf(LIFE + more));
    expect(ghosts.has(parts.shard, hashOf(0))).toBe(false);
  });

  test("lives anew when it is added once more", () => {
    grow(8);
    ghosts.add(parts.shard, hashOf(0));
    for (let evictions = 1; evictions < LIFE; evictions++) ghosts.add(parts.shard, hashOf(evictions));
    ghosts.add(parts.shard, hashOf(0));
    for (let evictions = 0; evictions < LIFE - 2; evictions++) ghosts.add(parts.shard, hashOf(1000 + evictions));
    expect(ghosts.has(parts.shard, hashOf(0))).toBe(true);
  });

  test("is gone when its key is stored again, alone", () => {
    grow(1);
    for (const number of [1, 2, 3]) ghosts.add(parts.shard, hashOf(number));
    ghosts.forget(parts.shard, hashOf(2));
    expect([1, 2, 3].map((number) => ghosts.has(parts.shard, hashOf(number)))).toEqual([true, false, true]);
  });

  test("gives way to the next where its bucket is full, the oldest first", () => {
    grow(1);
    // All in the first bucket: the bucket is chosen by the high bits.
    const inFirstBucket = (number: number) => number + 1;
    for (let number = 0; number < 17; number++) ghosts.add(parts.shard, inFirstBucket(number));
    const known = Array.from({ length: 17 }, (_, number) => ghosts.has(parts.shard, inFirstBucket(number)));
    expect(known.filter((isKnown) => isKnown).length).toBe(16);
    // Two of an age stand for each other: the steps of an age are two evictions.
    expect(known.slice(2)).toEqual(known.slice(2).map(() => true));
  });

  test("with hash 0 is one like any other", () => {
    grow(1);
    expect(ghosts.has(parts.shard, 0)).toBe(false);
    ghosts.add(parts.shard, 0);
    expect(ghosts.has(parts.shard, 0)).toBe(true);
  });
});

test("in any order of calls nobody is remembered who was not added, and everybody is in a bucket of his own", () => {
  const call = fc.tuple(fc.constantFrom("add", "forget"), fc.nat(PAGE_SLOTS / 16 - 1));
  fc.assert(
    fc.property(fc.array(call, { maxLength: LIFE - 4 }), (calls) => {
      parts = new SmallShard();
      ghosts = new GhostTable(parts.arena, parts.pool);
      countRecords(RECORDS);
      grow(1);
      const known = new Set<number>();
      // One hash for each bucket.
      const hashIn = (bucket: number) => (bucket << 29) | 5;
      for (const [kind, bucket] of calls) {
        if (kind === "add") ghosts.add(parts.shard, hashIn(bucket));
        else ghosts.forget(parts.shard, hashIn(bucket));
        if (kind === "add") known.add(bucket);
        else known.delete(bucket);
      }
      for (let bucket = 0; bucket < 8; bucket++) {
        expect(ghosts.has(parts.shard, hashIn(bucket))).toBe(known.has(bucket));
      }
    }),
  );
});
