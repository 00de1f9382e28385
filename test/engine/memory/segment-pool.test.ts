import { expect, test } from "bun:test";
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
