import { beforeEach, describe, expect, test } from "bun:test";
import fc from "fast-check";
import {
  AGE_CLOCK,
  CHAIN_HEAD,
  CHAIN_LIVE_UNITS,
  CHAIN_RECORDS,
  CHAIN_SEGMENTS,
  CHAIN_TAIL,
  type Queue,
  RECORD_META,
  SEGMENT_RESERVED_BYTES,
  SHARD_BLOB_HEAD,
  SHARD_BLOB_TAIL,
  SHARD_MAIN,
  SHARD_RECYCLE_SEQUENCE,
  SHARD_SEGMENTS,
  SHARD_SMALL,
} from "../../../src/engine/memory/layout.ts";
import { queueOf, RecordPlan } from "../../../src/engine/memory/record.ts";
import { SmallShard } from "../../support/small-shard.ts";

const SEGMENT_BYTES = 512;
const SEGMENTS = 32;
/** Header and a key of one byte. */
const PREFIX_BYTES = 17;

let parts: SmallShard;
beforeEach(() => {
  parts = new SmallShard({ segments: SEGMENTS });
});

/** The value of a record that takes so many bytes of its segment. */
function valueFilling(recordBytes: number, byte = 7): Buffer {
  return Buffer.alloc(recordBytes - PREFIX_BYTES, byte);
}

/** Of values: up to three segments, and with some care the sizes that just fit. */
const size = fc.oneof(
  fc.integer({ min: 0, max: 503 }),
  fc.integer({ min: 0, max: 1600 }),
  fc.integer({ min: 440, max: 503 }),
);

function planOf(valueBytes: number, keyBytes = 1): RecordPlan {
  const plan = new RecordPlan(parts.log.blobSegmentBytes);
  plan.plan(keyBytes, 0, valueBytes, false, false);
  return plan;
}

const ofChain = (queue: Queue) => ({
  records: parts.control(queue + CHAIN_RECORDS),
  units: parts.control(queue + CHAIN_LIVE_UNITS),
  segments: parts.control(queue + CHAIN_SEGMENTS),
});

/** The segments from the first to the last of a list, each of which knows its neighbours; plus 1, as they are linked. */
function linked(first: number, last: number): number[] {
  const { control, next, prev } = parts.arena;
  const found: number[] = [];
  for (let at = first, before = 0; at !== 0; before = at, at = control[next + at - 1] ?? 0) {
    expect(control[prev + at - 1]).toBe(before);
    found.push(at);
  }
  expect(found.at(-1) ?? 0).toBe(last);
  return found;
}

function expectLinks(): void {
  for (const queue of [SHARD_SMALL, SHARD_MAIN]) {
    const segments = linked(parts.control(queue + CHAIN_TAIL), parts.control(queue + CHAIN_HEAD));
    expect(segments.length).toBe(parts.control(queue + CHAIN_SEGMENTS));
  }
}

describe("the segments that a record needs", () => {
  test.each([
    // What the record takes, what of its chain's head is taken, segments.
    [504, null, 1],
    [512, null, 2],
    [24, 488, 0],
    [32, 488, 1],
    [24, 496, 1],
    [504, 496, 1],
    [512, 496, 2],
  ])("of %d bytes, where %p bytes of the head are taken, are %d", (bytes, taken, segments) => {
    if (taken !== null) parts.append(SHARD_SMALL, valueFilling(taken - SEGMENT_RESERVED_BYTES));
    expect(parts.log.segmentsNeeded(parts.shard, SHARD_SMALL, planOf(bytes - PREFIX_BYTES))).toBe(segments);
  });

  test("are those of its blob besides", () => {
    expect(parts.log.segmentsNeeded(parts.shard, SHARD_SMALL, planOf(3 * parts.log.blobSegmentBytes))).toBe(4);
  });

  test("are as many as are taken, whatever the sizes", () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(size, fc.constantFrom("k", "prefix24")), { maxLength: 20 }), (records) => {
        parts = new SmallShard({ segments: 128 });
        for (const [bytes, key] of records) {
          const before = parts.control(SHARD_SEGMENTS);
          const needed = parts.log.segmentsNeeded(parts.shard, SHARD_MAIN, planOf(bytes, key.length));
          parts.append(SHARD_MAIN, Buffer.alloc(bytes, 1), 0, key);
          expect(parts.control(SHARD_SEGMENTS) - before).toBe(needed);
        }
      }),
    );
  });
});

describe("a record", () => {
  test("of which the prefix would not fit into a segment is none", () => {
    expect(parts.log.fits(planOf(0))).toBe(true);
    const plan = new RecordPlan(parts.log.blobSegmentBytes);
    plan.plan(SEGMENT_BYTES, 0, 1, false, false);
    expect(parts.log.fits(plan)).toBe(false);
  });

  test("begins in a new segment where its prefix does not fit at the end, and goes on there where its value does not", () => {
    parts.append(SHARD_SMALL, valueFilling(480));
    const spilled = parts.append(SHARD_SMALL, Buffer.alloc(100, "s"));
    const third = parts.append(SHARD_SMALL, Buffer.alloc(10, "t"));
    expect([parts.arena.segmentOf(spilled), parts.arena.segmentOf(third)]).toEqual([0, 1]);
    expect(parts.arena.offsetOf(spilled)).toBe(SEGMENT_RESERVED_BYTES + 480);
    expect(parts.log.value(spilled).toString()).toBe("s".repeat(100));
    expect(parts.log.value(third).toString()).toBe("t".repeat(10));
    parts.append(SHARD_SMALL, valueFilling(504 - 32 - 96));
    expect(parts.arena.segmentOf(parts.append(SHARD_SMALL, valueFilling(24)))).toBe(2);
  });

  test("is copied with its value, into the other queue, and counted in both until it is dropped", () => {
    parts.append(SHARD_SMALL, valueFilling(480));
    const original = parts.append(SHARD_SMALL, Buffer.from("a value that goes on in the next segment"));
    parts.reserve(parts.log.segmentsNeededToCopy(parts.shard, original, SHARD_MAIN));
    const copy = parts.log.copy(parts.shard, original, SHARD_MAIN);
    expect(parts.log.value(copy).toString()).toBe("a value that goes on in the next segment");
    expect([ofChain(SHARD_SMALL).records, ofChain(SHARD_MAIN).records]).toEqual([2, 1]);
    parts.log.drop(parts.shard, original);
    expect([ofChain(SHARD_SMALL).records, ofChain(SHARD_MAIN).records]).toEqual([1, 1]);
    expect([parts.log.isDead(original), parts.log.isDead(copy)]).toEqual([true, false]);
  });

  test("says in which queue it is, also as a copy that goes back", () => {
    const small = parts.append(SHARD_SMALL, valueFilling(24));
    parts.reserve(2);
    const main = parts.log.copy(parts.shard, small, SHARD_MAIN);
    const back = parts.log.copy(parts.shard, main, SHARD_SMALL);
    const metaOf = (at: number) => parts.arena.wordsAt(at)[parts.arena.wordIndex(at) + RECORD_META] ?? 0;
    expect([small, main, back].map((at) => queueOf(metaOf(at)))).toEqual([SHARD_SMALL, SHARD_MAIN, SHARD_SMALL]);
  });

  test("is as old as its segment is", () => {
    const first = parts.append(SHARD_SMALL, valueFilling(480));
    const second = parts.append(SHARD_SMALL, valueFilling(24));
    const clock = parts.arena.control[AGE_CLOCK];
    const third = parts.append(SHARD_MAIN, valueFilling(24));
    expect(parts.log.born(second)).toBe(parts.log.born(first));
    expect(parts.log.born(third)).toBe(clock ?? -1);
  });
});

describe("a queue", () => {
  test("gives its records in the order in which they came, dead ones, too", () => {
    const locations = [200, 300, 100, 400, 24].map((bytes) => parts.append(SHARD_SMALL, valueFilling(bytes)));
    parts.log.kill(parts.shard, locations[2] ?? 0);
    const seen: number[] = [];
    for (let at = parts.log.tail(parts.shard, SHARD_SMALL); at !== 0; at = parts.log.tail(parts.shard, SHARD_SMALL)) {
      seen.push(at);
      parts.log.passTail(parts.shard, SHARD_SMALL);
      if (!parts.log.isDead(at)) parts.log.kill(parts.shard, at);
    }
    expect(seen).toEqual(locations);
  });

  test("gives a segment back when nothing in it is alive, but for the one that takes appends", () => {
    const free = parts.pool.available();
    const first = parts.append(SHARD_SMALL, valueFilling(504));
    const second = parts.append(SHARD_SMALL, valueFilling(24));
    const recycled = parts.control(SHARD_RECYCLE_SEQUENCE);
    parts.log.passTail(parts.shard, SHARD_SMALL);
    parts.log.kill(parts.shard, first);
    expect([parts.pool.available(), ofChain(SHARD_SMALL)]).toEqual([free - 1, { records: 1, units: 3, segments: 1 }]);
    // Readers see by this that a segment may have come to be something else.
    expect(parts.control(SHARD_RECYCLE_SEQUENCE)).toBeGreaterThan(recycled);
    parts.log.passTail(parts.shard, SHARD_SMALL);
    parts.log.kill(parts.shard, second);
    expect(parts.pool.available()).toBe(free - 1);
    parts.log.dropEmptyHead(parts.shard, SHARD_SMALL);
    expect([parts.pool.available(), ofChain(SHARD_SMALL)]).toEqual([free, { records: 0, units: 0, segments: 0 }]);
    expect(parts.log.tail(parts.shard, SHARD_SMALL)).toBe(0);
  });

  test("keeps its last segment while something in it is alive", () => {
    const only = parts.append(SHARD_SMALL, valueFilling(24));
    parts.log.dropEmptyHead(parts.shard, SHARD_SMALL);
    expect(parts.log.tail(parts.shard, SHARD_SMALL)).toBe(only);
  });

  test("keeps two segments while a record that lies in both is alive", () => {
    const first = parts.append(SHARD_SMALL, valueFilling(480));
    const spilled = parts.append(SHARD_SMALL, valueFilling(100));
    parts.append(SHARD_SMALL, valueFilling(504));
    parts.log.kill(parts.shard, first);
    expect(ofChain(SHARD_SMALL).segments).toBe(3);
    expect(parts.log.value(spilled)).toEqual(valueFilling(100));
    parts.log.passTail(parts.shard, SHARD_SMALL);
    parts.log.passTail(parts.shard, SHARD_SMALL);
    parts.log.kill(parts.shard, spilled);
    expect(ofChain(SHARD_SMALL).segments).toBe(2);
  });
});

describe("a blob", () => {
  const part = () => parts.log.blobSegmentBytes;

  /** Writes a record by hand whose value begins in whole segments. */
  function appendLarge(segments: number, more: number): { readonly location: number; readonly value: Buffer } {
    const value = Buffer.from(Array.from({ length: segments * part() + more }, (_, at) => (at * 7) & 0xff));
    return { location: parts.append(SHARD_SMALL, value), value };
  }

  test.each([
    [1, 0],
    [1, 20],
    [3, 400],
  ])("of %d segments and %d bytes more is read as it was written, and given back whole", (segments, more) => {
    const free = parts.pool.available();
    parts.append(SHARD_SMALL, valueFilling(300));
    const { location, value } = appendLarge(segments, more);
    expect(parts.log.value(location).equals(value)).toBe(true);
    expect(parts.log.inlineValue(location).equals(value.subarray(segments * part()))).toBe(true);
    parts.log.kill(parts.shard, location);
    parts.log.clear(parts.shard);
    expect(parts.pool.available()).toBe(free);
  });

  test("stays where it is when its record moves, and is young again when it is renewed", () => {
    const { location, value } = appendLarge(2, 30);
    const blob = parts.log.blobOf(location);
    parts.reserve(parts.log.segmentsNeededToCopy(parts.shard, location, SHARD_MAIN));
    const copy = parts.log.copy(parts.shard, location, SHARD_MAIN);
    parts.log.drop(parts.shard, location);
    expect([parts.log.blobOf(copy), parts.log.value(copy).equals(value)]).toEqual([blob, true]);
    const before = parts.log.born(copy);
    parts.log.renew(copy);
    expect(parts.log.born(copy)).toBeGreaterThan(before);
  });

  test("in the midst of others is taken out, and the others stay whole", () => {
    const free = parts.pool.available();
    const three = [1, 2, 3].map((segments) => appendLarge(segments, 0));
    parts.log.kill(parts.shard, three[1]?.location ?? 0);
    for (const at of [0, 2]) {
      const { location = 0, value = Buffer.alloc(0) } = three[at] ?? {};
      expect(parts.log.value(location).equals(value)).toBe(true);
    }
    parts.log.clear(parts.shard);
    expect([parts.pool.available(), parts.control(SHARD_SEGMENTS)]).toEqual([free, 0]);
  });
});

test("in any order of appends and deaths the counts are those of what is alive, and all is given back", () => {
  const call = fc.record({ isAppend: fc.integer({ min: 0, max: 9 }), bytes: size, pick: fc.nat() });
  fc.assert(
    fc.property(fc.array(call, { maxLength: 120, size: "max" }), (calls) => {
      parts = new SmallShard({ segments: SEGMENTS });
      const { log, shard } = parts;
      const alive: { readonly location: number; readonly queue: Queue; readonly value: Buffer }[] = [];
      for (const [at, { isAppend, bytes, pick }] of calls.entries()) {
        const queue = pick % 2 === 0 ? SHARD_SMALL : SHARD_MAIN;
        if (isAppend < 5) {
          const value = Buffer.alloc(bytes, at);
          if (parts.pool.available() < 5) continue;
          alive.push({ location: parts.append(queue, value), queue, value });
        } else {
          const [gone] = alive.splice(pick % Math.max(1, alive.length), 1);
          if (gone !== undefined) log.kill(shard, gone.location);
        }
      }
      for (const { location, value } of alive) expect(log.value(location).equals(value)).toBe(true);
      expectLinks();
      const blobs = linked(parts.control(SHARD_BLOB_TAIL), parts.control(SHARD_BLOB_HEAD));
      expect(blobs.length).toBe(alive.reduce((sum, { value }) => sum + planOf(value.length).blobSegments, 0));
      for (const queue of [SHARD_SMALL, SHARD_MAIN] as const) {
        const mine = alive.filter((one) => one.queue === queue);
        const units = mine.reduce((sum, { value }) => sum + planOf(value.length).totalUnits(), 0);
        const { records, units: counted } = ofChain(queue);
        expect([records, counted]).toEqual([mine.length, units]);
      }
      for (const { location } of alive) log.kill(shard, location);
      for (const queue of [SHARD_SMALL, SHARD_MAIN] as const) {
        while (log.tail(shard, queue) !== 0) log.passTail(shard, queue);
        log.dropEmptyHead(shard, queue);
        expect([parts.control(queue + CHAIN_HEAD), parts.control(queue + CHAIN_TAIL)]).toEqual([0, 0]);
      }
      expect([parts.pool.available(), parts.control(SHARD_SEGMENTS)]).toEqual([SEGMENTS, 0]);
    }),
  );
});
