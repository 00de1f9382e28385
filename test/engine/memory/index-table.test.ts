import { beforeEach, describe, expect, test } from "bun:test";
import fc from "fast-check";
import { IndexTable } from "../../../src/engine/memory/index-table.ts";
import {
  POOL_INDEX_COUNT,
  SHARD_INDEX_PAGES,
  SHARD_INDEX_SEQUENCE,
  SHARD_SEGMENTS,
  SHARD_SLOTS_USED,
} from "../../../src/engine/memory/layout.ts";
import { SmallShard } from "../../support/small-shard.ts";

const HASH_RANGE = 2 ** 30;
/** A page of 512 bytes has 64 slots. */
const PAGE_SLOTS = 64;

let parts: SmallShard;
let index: IndexTable;

function makeIndex(): void {
  parts = new SmallShard();
  index = new IndexTable(parts.arena, parts.pool);
}

/** Grows by what is wanted, as the writer does. */
function makeRoom(): void {
  const pages = index.pagesWanted(parts.shard);
  if (pages === 0) return;
  parts.reserve(pages);
  parts.pool.unreserve(pages - index.grow(parts.shard, pages));
}

function insert(hash: number, location: number): void {
  makeRoom();
  index.insert(parts.shard, hash, location);
}

function remove(hash: number, location: number): void {
  index.remove(parts.shard, index.findLocation(parts.shard, hash, location));
}

/** The used slots in their order: hash and location. */
function slots(): (readonly [number, number])[] {
  const table = parts.arena.indexPageTable(parts.shard);
  const used: (readonly [number, number])[] = [];
  for (let slot = 0; slot < index.slotCount(parts.shard); slot++) {
    const at = index.slotAt(table, slot);
    const words = parts.arena.wordsAt(at);
    const word = parts.arena.wordIndex(at);
    const location = words[word + 1] ?? 0;
    if (location !== 0) used.push([(words[word] ?? 0) >>> 2, location]);
  }
  return used;
}

beforeEach(makeIndex);

describe("the homes of hashes", () => {
  test("grow with the hash, from the first slot on, and leave room behind the last", () => {
    for (const slotCount of [PAGE_SLOTS, 5 * PAGE_SLOTS, 100 * PAGE_SLOTS]) {
      expect(index.home(0, slotCount)).toBe(0);
      expect(index.home(HASH_RANGE - 1, slotCount)).toBe(slotCount - Math.min(256, slotCount / 8) - 1);
    }
  });

  test("are where `firstHash` says that they begin", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 1000 }), fc.double({ min: 0, max: 0.85, noNaN: true }), (pages, share) => {
        const slotCount = pages * PAGE_SLOTS;
        const slot = Math.floor(share * slotCount);
        const hash = index.firstHash(slot, slotCount);
        expect(index.home(hash, slotCount)).toBeGreaterThanOrEqual(slot);
        if (hash > 0) expect(index.home(hash - 1, slotCount)).toBeLessThan(slot);
      }),
    );
  });
});

describe("pages", () => {
  test("are wanted by an empty table, by one that is filled to 85 %, and by one whose last slot is taken", () => {
    expect(index.pagesWanted(parts.shard)).toBe(1);
    makeRoom();
    const most = Math.floor((PAGE_SLOTS - PAGE_SLOTS / 8) * 0.85);
    for (let number = 1; number <= most; number++) {
      expect([number, index.pagesWanted(parts.shard)]).toEqual([number, 0]);
      index.insert(parts.shard, Math.floor((number * HASH_RANGE) / most) - 1, number);
    }
    expect(index.pagesWanted(parts.shard)).toBe(1);
    makeIndex();
    makeRoom();
    // Nine of the greatest hash reach from the last home to the end.
    for (let number = 1; number <= 9; number++) index.insert(parts.shard, HASH_RANGE - 1, number);
    expect(index.pagesWanted(parts.shard)).toBe(1);
  });

  test("come by eighths of a larger table", () => {
    parts.reserve(16);
    index.grow(parts.shard, 16);
    for (let number = 1; number <= 17 * PAGE_SLOTS; number++) {
      if (index.pagesWanted(parts.shard) > 0) break;
      index.insert(parts.shard, Math.floor((number * HASH_RANGE) / (18 * PAGE_SLOTS)), number);
    }
    expect(index.pagesWanted(parts.shard)).toBe(2);
  });

  test("that were given back are taken first, and are empty", () => {
    insert(7, 1);
    index.clear(parts.shard);
    expect(parts.arena.control[POOL_INDEX_COUNT]).toBe(1);
    expect([parts.control(SHARD_INDEX_PAGES), parts.control(SHARD_SEGMENTS)]).toEqual([0, 0]);
    parts.reserve(1);
    expect(index.grow(parts.shard, 1)).toBe(0);
    expect(slots()).toEqual([]);
    expect([parts.control(SHARD_INDEX_PAGES), parts.control(SHARD_SEGMENTS)]).toEqual([1, 1]);
  });

  test("change between an odd and an even sequence, so that a reader sees it", () => {
    insert(7, 1);
    const before = parts.control(SHARD_INDEX_SEQUENCE);
    parts.reserve(1);
    index.grow(parts.shard, 1);
    expect(parts.control(SHARD_INDEX_SEQUENCE)).toBe(before + 2);
    index.clear(parts.shard);
    expect(parts.control(SHARD_INDEX_SEQUENCE)).toBe(before + 4);
  });
});

test("where there is no room for a hash, none is lost in silence", () => {
  makeRoom();
  for (let number = 1; number <= 9; number++) index.insert(parts.shard, HASH_RANGE - 1, number);
  expect(() => index.insert(parts.shard, HASH_RANGE - 1, 10)).toThrow("pagesWanted was not asked");
});

test("equal hashes are told apart by their locations", () => {
  for (let location = 1; location <= 5; location++) insert(1234, location);
  remove(1234, 3);
  expect(index.findLocation(parts.shard, 1234, 3)).toBe(-1);
  const found = [1, 2, 4, 5].map((location) => index.findLocation(parts.shard, 1234, location));
  expect(found.toSorted((a, b) => a - b)).toEqual([0, 1, 2, 3].map((step) => (found[0] ?? 0) + step));
  expect(parts.control(SHARD_SLOTS_USED)).toBe(4);
});

test("in any order of calls the table is sorted by hash, each run begins at a home, and everything is found", () => {
  // Few homes, many of a hash, both ends: so that runs meet.
  const hash = fc.oneof(
    fc.constantFrom(0, 1, HASH_RANGE - 1, HASH_RANGE / 2),
    fc.integer({ min: 0, max: 40 }).map((number) => number * 2 ** 24),
    fc.integer({ min: 0, max: HASH_RANGE - 1 }),
  );
  const call = fc.record({ isInsert: fc.boolean(), hash, pick: fc.nat() });
  fc.assert(
    fc.property(fc.array(call, { maxLength: 250, size: "max" }), (calls) => {
      makeIndex();
      const known: (readonly [number, number])[] = [];
      const ofHash = (wanted: number) => known.filter(([other]) => other === wanted).length;
      for (const [at, { isInsert, hash: wanted, pick }] of calls.entries()) {
        if (isInsert || known.length === 0) {
          // What no table has room for at its end: that many equal ones.
          if (ofHash(wanted) >= 7) continue;
          insert(wanted, at + 1);
          known.push([wanted, at + 1]);
        } else {
          const [gone] = known.splice(pick % known.length, 1);
          if (gone !== undefined) remove(...gone);
        }
      }
      const order = (list: (readonly [number, number])[]) => list.toSorted((a, b) => a[0] - b[0] || a[1] - b[1]);
      const found = slots();
      expect(found.map(([one]) => one)).toEqual(order(found).map(([one]) => one));
      expect(order(found)).toEqual(order(known));
      expect(parts.control(SHARD_SLOTS_USED)).toBe(known.length);
      for (const [one, location] of known) {
        expect(index.findLocation(parts.shard, one, location)).toBeGreaterThanOrEqual(0);
      }
    }),
  );
});
