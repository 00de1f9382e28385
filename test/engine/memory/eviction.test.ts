import { beforeEach, describe, expect, test } from "bun:test";
import { Eviction } from "../../../src/engine/memory/eviction.ts";
import { ExpiryWheel } from "../../../src/engine/memory/expiry-wheel.ts";
import { GhostTable } from "../../../src/engine/memory/ghost-table.ts";
import { HalfSipHash } from "../../../src/engine/memory/half-sip-hash.ts";
import { IndexTable } from "../../../src/engine/memory/index-table.ts";
import {
  CHAIN_SEGMENTS,
  COUNT_EVICTIONS,
  COUNT_EXPIRATIONS,
  COUNT_MAIN_EVICTIONS,
  COUNTERS_PER_THREAD,
  type Queue,
  RECORD_META,
  RECORDS_COUNTED,
  SHARD_MAIN,
  SHARD_SMALL,
} from "../../../src/engine/memory/layout.ts";
import { queueOf } from "../../../src/engine/memory/record.ts";
import { ShardStore } from "../../../src/engine/memory/shard-store.ts";
import type { Victim } from "../../../src/engine/memory/victim.ts";
import { SmallShard } from "../../support/small-shard.ts";

const NOW_MS = 100_000;
const NEVER_NEXT = 2 ** 30;
/** Three records fill a segment, and each is so many units long. */
const UNITS = 21;
const THIRD = UNITS * 8 - 17;
/** What a header with an expiry is longer. */
const EXPIRY_BYTES = 16;

let parts: SmallShard;
let store: ShardStore;
let ghosts: GhostTable;
let counters: Float64Array;
let eviction: Eviction;

beforeEach(() => {
  parts = new SmallShard();
  const { arena, pool, log } = parts;
  const index = new IndexTable(arena, pool);
  const hasher = new HalfSipHash(1, 2);
  ghosts = new GhostTable(arena, pool);
  counters = new Float64Array(COUNTERS_PER_THREAD);
  store = new ShardStore(arena, index, log, new ExpiryWheel(arena, 0), hasher);
  eviction = new Eviction(arena, pool, store, log, ghosts, hasher, counters);
  arena.control[RECORDS_COUNTED] = 20;
  parts.reserve(3);
  index.grow(parts.shard, 2);
  ghosts.grow(parts.shard, 1);
});

/** Stores an entry under a key of one letter, read so often since. */
function put(letter: string, queue: Queue, uses = 0, expiresAtMs = 0): void {
  const location = parts.append(
    queue,
    Buffer.alloc(THIRD - (expiresAtMs === 0 ? 0 : EXPIRY_BYTES), letter),
    expiresAtMs,
    letter,
  );
  store.insert(parts.shard, store.hashOf(location), location);
  use(letter, uses);
}

function use(letter: string, uses: number): void {
  const slot = slotOf(letter);
  const at = store.index.slotAt(parts.arena.indexPageTable(parts.shard), slot);
  const words = parts.arena.wordsAt(at);
  words[parts.arena.wordIndex(at)] = (words[parts.arena.wordIndex(at)] ?? 0) + uses;
}

function slotOf(letter: string): number {
  const hash = hashOf(letter) >>> 2;
  return store.findKey(parts.shard, hash, Buffer.from(letter), 1);
}

function hashOf(letter: string): number {
  const hasher = new HalfSipHash(1, 2);
  hasher.digest(Buffer.from(letter), 0, 1);
  return hasher.hi;
}

/** Where each of these keys is now: its queue and uses; null = it is gone. */
function places(letters: string): (string | null)[] {
  return [...letters].map((letter) => {
    const slot = slotOf(letter);
    if (slot < 0) return null;
    const at = store.foundLocation;
    expect(parts.log.value(at).every((byte) => byte === letter.charCodeAt(0))).toBe(true);
    const meta = parts.arena.wordsAt(at)[parts.arena.wordIndex(at) + RECORD_META] ?? 0;
    return `${queueOf(meta) === SHARD_MAIN ? "main" : "small"} ${store.useCount(parts.shard, slot)}`;
  });
}

function victim(queue: Queue, more: Partial<Victim> = {}): Victim {
  const chosen = { queue, shard: parts.shard, nextBorn: NEVER_NEXT, excessUnits: NEVER_NEXT, promotionUses: 2 };
  return { ...chosen, ...more } as Victim;
}

const isGhost = (letter: string) => ghosts.has(parts.shard, hashOf(letter));
const counts = () => ({
  evictions: counters[COUNT_EVICTIONS],
  ofMain: counters[COUNT_MAIN_EVICTIONS],
  expirations: counters[COUNT_EXPIRATIONS],
});

describe("at the end of the small queue", () => {
  test("those used less than twice leave and are ghosts; the others go to the main queue, unused; until a segment is free", () => {
    for (const [at, letter] of [..."abcdefghijkl"].entries()) put(letter, SHARD_SMALL, at % 3);
    const free = parts.pool.available();
    eviction.evict(victim(SHARD_SMALL), NOW_MS);
    // The main queue took a segment for what it got, so that a second one had to come free.
    expect(places("abcdef")).toEqual([null, null, "main 0", null, null, "main 0"]);
    expect(places("ghijkl")).toEqual(["small 0", "small 1", "small 2", "small 0", "small 1", "small 2"]);
    expect(parts.pool.available()).toBe(free + 1);
    expect([..."abcdef"].map(isGhost)).toEqual([true, true, false, true, true, false]);
    expect(counts()).toEqual({ evictions: 4, ofMain: 0, expirations: 0 });
  });

  test("one use is enough where there are few", () => {
    for (const [at, letter] of [..."abcdef"].entries()) put(letter, SHARD_SMALL, at % 2);
    eviction.evict(victim(SHARD_SMALL, { promotionUses: 1 }), NOW_MS);
    expect(places("abcd")).toEqual([null, "main 0", null, "main 0"]);
  });

  test("what has expired is neither an eviction nor remembered, however often it was read", () => {
    put("a", SHARD_SMALL, 3, NOW_MS);
    put("b", SHARD_SMALL, 3, NOW_MS + 1);
    for (const letter of "cdef") put(letter, SHARD_SMALL);
    eviction.evict(victim(SHARD_SMALL), NOW_MS);
    expect(places("ab")).toEqual([null, "main 0"]);
    expect([isGhost("a"), counters[COUNT_EXPIRATIONS]]).toEqual([false, 1]);
  });

  test("no more than the excess leaves", () => {
    for (const letter of "abcdefgh") put(letter, SHARD_SMALL);
    eviction.evict(victim(SHARD_SMALL, { excessUnits: UNITS }), NOW_MS);
    expect(places("abc")).toEqual([null, "small 0", "small 0"]);
    eviction.evict(victim(SHARD_SMALL, { excessUnits: UNITS + 1 }), NOW_MS);
    expect(places("bcd")).toEqual([null, null, "small 0"]);
  });

  test("nothing leaves that is younger than what another shard has", () => {
    for (const letter of "abcdefgh") put(letter, SHARD_SMALL);
    const steps = eviction.evict(victim(SHARD_SMALL, { nextBorn: -1 }), NOW_MS);
    expect([steps, places("a")]).toEqual([0, ["small 0"]]);
  });
});

describe("at the end of the main queue", () => {
  test("the unused leave, forgotten; the used ones stay at its head, with one use less", () => {
    for (const [at, letter] of [..."abcdefghijkl"].entries()) put(letter, SHARD_MAIN, at % 4);
    eviction.evict(victim(SHARD_MAIN), NOW_MS);
    expect(places("abcdefghi")).toEqual([
      ...[null, "main 0", "main 1", "main 2"],
      ...[null, "main 0", "main 1", "main 2"],
      null,
    ]);
    expect(places("jkl")).toEqual(["main 1", "main 2", "main 3"]);
    expect([isGhost("a"), counts()]).toEqual([false, { evictions: 3, ofMain: 3, expirations: 0 }]);
  });

  test("one leaves in the end, though all of them are used", () => {
    for (const letter of "abcdefgh") put(letter, SHARD_MAIN, 3);
    let rounds = 0;
    while (counters[COUNT_EVICTIONS] === 0 && rounds < 50) {
      eviction.evict(victim(SHARD_MAIN), NOW_MS);
      rounds++;
    }
    expect(rounds).toBeLessThan(50);
  });
});

describe("a sparse segment", () => {
  test("is emptied before anything leaves, and each record keeps its queue and its uses", () => {
    // The second segment of three is the one; the last takes appends, the first is next to leave.
    for (const [at, letter] of [..."abcdefghijkl"].entries()) put(letter, SHARD_SMALL, at % 4);
    for (const letter of "ef") store.remove(parts.shard, slotOf(letter), store.foundLocation);
    const before = parts.control(SHARD_SMALL + CHAIN_SEGMENTS);
    expect(eviction.compact(parts.shard, NOW_MS)).toBe(true);
    expect(places("abcdghijkl")).toEqual([..."abcdghijkl"].map((letter) => `small ${(letter.charCodeAt(0) - 97) % 4}`));
    expect(parts.control(SHARD_SMALL + CHAIN_SEGMENTS)).toBeLessThanOrEqual(before);
    expect(counts()).toEqual({ evictions: 0, ofMain: 0, expirations: 0 });
  });

  test("is left alone where the others are as full", () => {
    for (const letter of "abcdefghijkl") put(letter, SHARD_SMALL);
    expect(eviction.compact(parts.shard, NOW_MS)).toBe(false);
  });

  test("loses what has expired", () => {
    for (const letter of "abc") put(letter, SHARD_SMALL);
    put("d", SHARD_SMALL, 3, NOW_MS);
    for (const letter of "efghijkl") put(letter, SHARD_SMALL);
    for (const letter of "ef") store.remove(parts.shard, slotOf(letter), store.foundLocation);
    eviction.compact(parts.shard, NOW_MS);
    expect([places("d"), counters[COUNT_EXPIRATIONS]]).toEqual([[null], 1]);
  });
});

describe("a shard whose index is full", () => {
  test("loses records of the small queue first, used or not, and of the main one then", () => {
    for (const letter of "abc") put(letter, SHARD_SMALL, 3);
    for (const letter of "xyz") put(letter, SHARD_MAIN);
    expect(eviction.evictFrom(parts.shard, NOW_MS)).toBe(true);
    expect(places("abcxyz").every((place) => place === null)).toBe(true);
    expect(eviction.evictFrom(parts.shard, NOW_MS)).toBe(false);
    expect(counts()).toEqual({ evictions: 6, ofMain: 3, expirations: 0 });
  });
});
