import { beforeEach, describe, expect, test } from "bun:test";
import { Arena } from "../../../src/engine/memory/arena.ts";
import {
  AGE_CLOCK,
  CHAIN_BORN,
  CHAIN_LIVE_UNITS,
  CHAIN_RECORDS,
  CHAIN_TAIL,
  type Queue,
  RECORDS_COUNTED,
  SHARD_MAIN,
  SHARD_SMALL,
} from "../../../src/engine/memory/layout.ts";
import { Victim } from "../../../src/engine/memory/victim.ts";
import { smallMemory } from "../../support/small-memory.ts";

const SHAPE = { shards: 4, segmentBytes: 512, segments: 8, indexPages: 1, threads: 1, nowMs: 0, versioned: false };

let arena: Arena;
let victim: Victim;
beforeEach(() => {
  arena = new Arena(smallMemory(SHAPE));
  victim = new Victim(arena);
  arena.control[AGE_CLOCK] = 1000;
});

/** What a shard's queue holds, and when its oldest came. */
function hold(shard: number, queue: Queue, records: number, units: number, born: number): void {
  const chain = arena.shard(shard) + queue;
  arena.control[chain + CHAIN_TAIL] = 1;
  arena.control[chain + CHAIN_RECORDS] = records;
  arena.control[chain + CHAIN_LIVE_UNITS] = units;
  arena.control[chain + CHAIN_BORN] = born;
}

const chosen = () => ({ isOne: victim.choose(), shard: victim.shard, queue: victim.queue });

test("nobody leaves an empty memory", () => {
  expect(victim.choose()).toBe(false);
});

describe("the queue that gives next is", () => {
  test.each([
    // Records and units of the small queues, of the main ones; who gives.
    [100, 101, 900, 899, "small"],
    [100, 100, 900, 900, "main"],
    [100, 99, 900, 901, "main"],
    // 24 of 100 records may be in the small queue.
    [24, 240, 76, 760, "main"],
    [24, 241, 76, 759, "small"],
    // Half of all at most, however few there are.
    [3, 500, 3, 500, "main"],
    [3, 501, 3, 499, "small"],
  ])("of %d records in %d units, and %d in %d, the %s one", (small, smallUnits, main, mainUnits, name) => {
    hold(1, SHARD_SMALL, small, smallUnits, 10);
    hold(2, SHARD_MAIN, main, mainUnits, 20);
    const queue = name === "small" ? SHARD_SMALL : SHARD_MAIN;
    expect(chosen()).toEqual({ isOne: true, queue, shard: arena.shard(name === "small" ? 1 : 2) });
    expect(arena.control[RECORDS_COUNTED]).toBe(small + main);
  });

  test("the only one that has records", () => {
    hold(3, SHARD_MAIN, 5, 50, 10);
    expect(chosen()).toEqual({ isOne: true, queue: SHARD_MAIN, shard: arena.shard(3) });
    arena = new Arena(smallMemory(SHAPE));
    victim = new Victim(arena);
    hold(0, SHARD_SMALL, 5, 50, 10);
    expect(chosen()).toEqual({ isOne: true, queue: SHARD_SMALL, shard: arena.shard(0) });
    // All that it holds may go: there is nothing else.
    expect(victim.excessUnits).toBe(50);
  });
});

describe("of one queue of several shards", () => {
  test.each([
    [[30, 10, 20, 40], 1, 20],
    [[10, 20, 30, 40], 0, 20],
    [[40, 30, 20, 10], 3, 20],
    [[20, 20, 30, 40], 0, 20],
  ])("with the oldest of each born at %j, number %d gives, until what was born at %d is next", (born, shard, next) => {
    for (const [number, at] of born.entries()) hold(number, SHARD_SMALL, 10, 100, at);
    expect(chosen().shard).toBe(arena.shard(shard));
    expect(victim.nextBorn).toBe(next);
  });

  test("ages are told over the end of the clock", () => {
    arena.control[AGE_CLOCK] = -(2 ** 31) + 5;
    hold(0, SHARD_SMALL, 10, 100, -(2 ** 31) + 1);
    hold(1, SHARD_SMALL, 10, 100, 2 ** 31 - 10);
    expect(chosen().shard).toBe(arena.shard(1));
  });

  test("the only shard need not wait for another", () => {
    hold(0, SHARD_SMALL, 10, 100, 10);
    victim.choose();
    expect(victim.nextBorn).toBeGreaterThan(2 ** 29);
  });
});

test("one use moves a record to the main queue where there are few, two where there are many", () => {
  hold(0, SHARD_SMALL, 30, 300, 10);
  hold(1, SHARD_MAIN, 209, 2090, 10);
  victim.choose();
  expect(victim.promotionUses).toBe(1);
  hold(1, SHARD_MAIN, 210, 2100, 10);
  victim.choose();
  expect(victim.promotionUses).toBe(2);
});

test("the excess is what the small queues hold beyond their share", () => {
  hold(0, SHARD_SMALL, 100, 300, 10);
  hold(1, SHARD_MAIN, 900, 700, 10);
  victim.choose();
  expect(victim.excessUnits).toBe(200);
});
