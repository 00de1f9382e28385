import { beforeEach, describe, expect, test } from "bun:test";
import { Arena } from "../../../src/engine/memory/arena.ts";
import { POOL_LOCK } from "../../../src/engine/memory/layout.ts";
import { SegmentPool } from "../../../src/engine/memory/segment-pool.ts";
import { smallMemory } from "../../support/small-memory.ts";
import { TracedMemory } from "../../support/traced-memory.ts";

const SEGMENTS = 3;
const SHAPE = {
  shards: 1,
  segmentBytes: 512,
  segments: SEGMENTS,
  indexPages: 1,
  threads: 2,
  nowMs: 0,
  versioned: false,
};

/** One thread reserves all there is, and another does before the first one's n-th load: gives who was promised it. */
function reserveAtOnce(moment: number): { readonly promised: boolean[]; readonly met: boolean } {
  const handle = smallMemory(SHAPE);
  const trace = new TracedMemory(handle);
  const arena = new Arena(handle);
  const first = new SegmentPool(new Arena(handle, { views: trace.views, thread: 1 }));
  const second = new SegmentPool(arena);
  const promised: boolean[] = [];
  let loads = 0;
  let met = false;
  trace.hooks = {
    load: () => {
      if (loads++ !== moment || arena.control[POOL_LOCK] !== 0) return;
      met = true;
      promised.push(second.reserve(SEGMENTS, 0));
    },
  };
  promised.push(trace.run(() => first.reserve(SEGMENTS, 0)));
  return { promised, met };
}

test("segments are promised to one thread only, whenever another asks for them", () => {
  const meetings = Array.from({ length: 20 }, (_, moment) => reserveAtOnce(moment)).filter(({ met }) => met);
  expect(meetings.length).toBeGreaterThan(0);
  for (const { promised } of meetings) expect(promised.toSorted()).toEqual([false, true]);
});

describe("the segments of a pool", () => {
  let pool: SegmentPool;
  let arena: Arena;
  beforeEach(() => {
    arena = new Arena(smallMemory({ ...SHAPE, segments: 5 }));
    pool = new SegmentPool(arena);
  });

  /** Links segments as a shard's chain does; gives them back. */
  function giveChain(segments: readonly number[], give: (first: number, last: number, count: number) => void): void {
    for (const [at, segment] of segments.entries()) arena.control[arena.next + segment] = (segments[at + 1] ?? -1) + 1;
    give(segments[0] ?? -1, segments.at(-1) ?? -1, segments.length);
  }

  const takeAll = (count: number) => Array.from({ length: count }, () => pool.take());

  test("are each taken once, as many as were promised", () => {
    expect([pool.reserve(5, 0), pool.reserve(1, 0)]).toEqual([true, false]);
    expect(takeAll(5).toSorted()).toEqual([0, 1, 2, 3, 4]);
    expect(pool.available()).toBe(0);
  });

  test("are kept back for eviction where a caller leaves some to spare", () => {
    expect([pool.reserve(3, 3), pool.reserve(2, 3), pool.reserve(3, 0)]).toEqual([false, true, true]);
  });

  test("that were promised and not taken can be promised again", () => {
    pool.reserve(5, 0);
    pool.take();
    pool.unreserve(4);
    expect([pool.available(), pool.reserve(4, 0), pool.reserve(1, 0)]).toEqual([4, true, false]);
  });

  test("that come back as a chain are taken again, each once", () => {
    pool.reserve(5, 0);
    const [a = -1, b = -1, c = -1] = takeAll(5);
    giveChain([b], (first, last, count) => pool.give(first, last, count));
    giveChain([c, a], (first, last, count) => pool.give(first, last, count));
    expect(pool.available()).toBe(3);
    pool.reserve(3, 0);
    expect(takeAll(3).toSorted()).toEqual([a, b, c].toSorted());
  });

  test("that were index pages come back as index pages only", () => {
    pool.reserve(5, 0);
    const [a = -1, b = -1] = takeAll(5);
    giveChain([a, b], (first, last, count) => pool.giveIndexPages(first, last, count));
    expect([pool.available(), pool.reserve(1, 0)]).toEqual([0, false]);
    expect([pool.takeIndexPage(), pool.takeIndexPage()].toSorted()).toEqual([a, b].toSorted());
    expect(pool.takeIndexPage()).toBe(-1);
  });
});
