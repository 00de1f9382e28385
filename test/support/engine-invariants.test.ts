import { describe, expect, test } from "bun:test";
import { Arena } from "../../src/engine/memory/arena.ts";
import {
  CHAIN_LIVE_UNITS,
  CHAIN_RECORDS,
  CHAIN_TAIL,
  POOL_FREE_COUNT,
  POOL_FRESH,
  POOL_LOCK,
  POOL_RESERVED,
  SHARD_INDEX_SEQUENCE,
  SHARD_LOCK,
  SHARD_SEGMENTS,
  SHARD_SLOTS_USED,
  SHARD_SMALL,
  SHARD_TOMBSTONES,
  SHARD_WHEEL_COUNT,
} from "../../src/engine/memory/layout.ts";
import { checkInvariants } from "./engine-invariants.ts";
import { keyOf, ManualClock, smallEngine, stampOf } from "./engine-io.ts";

/** A small memory with values, large ones and some that expire, in one shard. */
function filled() {
  const clock = new ManualClock();
  const engine = smallEngine(100_000, clock);
  for (let number = 0; number < 20; number++) {
    const source = Buffer.alloc(number * 100);
    engine.put({
      key: keyOf(`key:${number}`),
      source,
      start: 0,
      end: source.length,
      attributes: { contentType: "application/json" },
      expiresAtMs: number % 2 === 0 ? 0 : clock.nowMs + number * 10_000,
      stamp: stampOf(number + 1),
      condition: null,
    });
  }
  const arena = new Arena(engine.handle);
  return { handle: engine.handle, arena, control: arena.control, shard: arena.shard(0) };
}

describe("the check of a memory's invariants", () => {
  test("passes where all is well", () => {
    checkInvariants(filled().handle);
  });

  test.each([
    ["the pool's lock", POOL_LOCK],
    ["promised segments", POOL_RESERVED],
    ["free list", POOL_FREE_COUNT],
    ["leaked", POOL_FRESH],
  ])("notices a wrong word of the pool: %s", (message, word) => {
    const { handle, control } = filled();
    Atomics.add(control, word, 1);
    expect(() => checkInvariants(handle)).toThrow(message);
  });

  test.each([
    ["lock", SHARD_LOCK],
    ["an index change under way", SHARD_INDEX_SEQUENCE],
    ["used slots", SHARD_SLOTS_USED],
    ["tombstones", SHARD_TOMBSTONES],
    ["the wheel's count", SHARD_WHEEL_COUNT],
    ["segments", SHARD_SEGMENTS],
    ["records", SHARD_SMALL + CHAIN_RECORDS],
    ["live units", SHARD_SMALL + CHAIN_LIVE_UNITS],
  ])("notices a wrong word of a shard: %s", (message, word) => {
    const { handle, control, shard } = filled();
    Atomics.add(control, shard + word, word === SHARD_INDEX_SEQUENCE ? 1 : 2);
    expect(() => checkInvariants(handle)).toThrow(message);
  });

  test("notices a segment with a wrong neighbour, or with another number of live units", () => {
    for (const table of ["prev", "live"] as const) {
      const { handle, arena, control, shard } = filled();
      const tail = Atomics.load(control, shard + SHARD_SMALL + CHAIN_TAIL) - 1;
      Atomics.add(control, arena[table] + tail, 1);
      expect(() => checkInvariants(handle)).toThrow(`segment ${tail}`);
    }
  });
});
