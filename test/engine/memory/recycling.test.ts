import { afterEach, expect, spyOn, test } from "bun:test";
import { Arena, type MemoryHandle } from "../../../src/engine/memory/arena.ts";
import { SHARD_INDEX_PAGES, SHARD_RECYCLE_SEQUENCE, SLOT_LOCATION } from "../../../src/engine/memory/layout.ts";
import { SegmentPool } from "../../../src/engine/memory/segment-pool.ts";
import { JSON_ATTRIBUTES, NEVER } from "../../../src/model/entry.ts";
import { keyOf, RecordingSink, smallEngine, stampOf } from "../../support/engine-io.ts";

const give = SegmentPool.prototype.give;

afterEach(() => {
  spyOn(SegmentPool.prototype, "give").mockRestore();
});

/** The segments in which a record begins that the index refers to. */
function segmentsInIndex(handle: MemoryHandle): Set<number> {
  const arena = new Arena(handle);
  const segments = new Set<number>();
  for (let number = 0; number < handle.geometry.shardCount; number++) {
    const shard = arena.shard(number);
    const table = arena.indexPageTable(shard);
    for (let page = 0; page < (arena.control[shard + SHARD_INDEX_PAGES] ?? 0); page++) {
      const start = arena.location(arena.control[table + page] ?? 0, 0);
      const words = arena.wordsAt(start);
      const first = arena.wordIndex(start);
      for (let word = first; word < first + arena.segmentBytes / 4; word += 2) {
        const location = words[word + SLOT_LOCATION] ?? 0;
        if (location !== 0) segments.add(arena.segmentOf(location));
      }
    }
  }
  return segments;
}

test("a segment leaves the index, and the recycle sequence moves, before the segment is given back", () => {
  const engine = smallEngine(100_000);
  const arena = new Arena(engine.handle);
  const sequence = () => arena.control[arena.shard(0) + SHARD_RECYCLE_SEQUENCE];
  let before = sequence();
  let freed = 0;
  spyOn(SegmentPool.prototype, "give").mockImplementation(function (this: SegmentPool, first, last, count) {
    const indexed = segmentsInIndex(engine.handle);
    for (let segment = first; ; segment = (arena.control[arena.next + segment] ?? 0) - 1) {
      expect(indexed.has(segment)).toBe(false);
      if (segment === last) break;
    }
    expect(sequence()).not.toBe(before);
    before = sequence();
    freed += count;
    give.call(this, first, last, count);
  });
  const source = Buffer.alloc(3_000);
  for (let version = 1; version <= 3_000; version++) {
    // Keys that are read again are moved to the main queue, and within it.
    const key = keyOf(`key:${(version * 7) % 90}`);
    for (let reads = 0; reads < version % 4; reads++) engine.get(key, new RecordingSink());
    const end = (version * 37) % source.length;
    const value = { source, start: 0, end, attributes: JSON_ATTRIBUTES, expiresAtMs: NEVER };
    engine.put({ key, ...value, stamp: stampOf(version), condition: null });
  }
  expect(freed).toBeGreaterThan(1_000);
});
