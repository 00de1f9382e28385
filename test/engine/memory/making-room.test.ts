import { describe, expect, test } from "bun:test";
import { Cache } from "../../../src/cache/cache.ts";
import { MemoryEngine } from "../../../src/engine/memory/memory-engine.ts";
import { NEVER } from "../../../src/model/entry.ts";
import { HybridClock } from "../../../src/model/hybrid-clock.ts";
import type { Version } from "../../../src/model/stamp.ts";
import { CollectingSink } from "../../support/collecting-sink.ts";
import { checkInvariants } from "../../support/engine-invariants.ts";
import { keyOf } from "../../support/engine-io.ts";
import { putIn } from "../../support/put-in.ts";

const MIB = 1024 * 1024;
const LIMIT_BYTES = 64 * MIB;
/** Records that a turn looks at, and what one lock more may add. */
const MOST_EVICTED_IN_A_TURN = 512 + 256;

/** A cache that is full of small entries; `evicted` holds how many left in each turn. */
function fullCache() {
  const evicted: number[] = [];
  let before = 0;
  const engine: MemoryEngine = MemoryEngine.create({
    limitBytes: LIMIT_BYTES,
    threads: 1,
    clock: Date.now,
    randomWord: () => 0x5eed,
    letOthersRun: async () => endTurn(),
  });
  const endTurn = () => {
    const { evictions } = engine.stats();
    evicted.push(evictions - before);
    before = evictions;
  };
  const versions = HybridClock.create(Date.now);
  const cache = new Cache({ engine, versions, nowMs: Date.now, defaultTtlMs: null, nodeId: 0, link: null });
  const put = (name: string, source: Buffer) =>
    putIn(
      cache,
      keyOf(name),
      { source, start: 0, end: source.length, attributes: { contentType: "text/plain" } },
      0,
      null,
    );
  const small = Buffer.alloc(100, 1);
  for (let number = 0; engine.stats().evictions === 0; number++) put(`small:${number}`, small);
  before = engine.stats().evictions;
  return { engine, evicted, put, endTurn };
}

function storedValue(engine: MemoryEngine, name: string): Buffer | null {
  const sink = new CollectingSink();
  return engine.peek(keyOf(name), sink) ? sink.bytes : null;
}

describe("room in a full memory of small entries", () => {
  test("for a value of 16 MiB is made in short turns, before the value is put", async () => {
    const { engine, evicted, put, endTurn } = fullCache();
    const value = Buffer.alloc(16 * MIB, "large");
    expect(await put("large", value)).toBe("stored");
    endTurn();
    expect(evicted.reduce((sum, count) => sum + count, 0)).toBeGreaterThan(50_000);
    expect(Math.max(...evicted)).toBeLessThanOrEqual(MOST_EVICTED_IN_A_TURN);
    expect(storedValue(engine, "large")?.equals(value)).toBe(true);
    checkInvariants(engine.handle);
  });

  test("for several large values at once is made for each, and none evicts in one go", async () => {
    const { engine, evicted, put, endTurn } = fullCache();
    const values = Array.from({ length: 4 }, (_, number) => Buffer.alloc(4 * MIB + number, number));
    const outcomes = await Promise.all(values.map((value, number) => put(`large:${number}`, value)));
    endTurn();
    // Between two ends of turns there may be the rest of one's and the whole of another's.
    expect(outcomes).toEqual(values.map(() => "stored"));
    expect(Math.max(...evicted)).toBeLessThanOrEqual(2 * MOST_EVICTED_IN_A_TURN);
    for (const [number, value] of values.entries()) {
      expect(storedValue(engine, `large:${number}`)?.equals(value)).toBe(true);
    }
  });

  test("is there at once where memory is free, and for small values: no promise", () => {
    const { put } = fullCache();
    expect(put("small", Buffer.alloc(10_000))).toBe("stored");
    const engine = MemoryEngine.create({ limitBytes: LIMIT_BYTES, threads: 1, clock: Date.now });
    expect(engine.makeRoom(16 * MIB)).toBeNull();
  });

  test("is not waited for by a value that could never fit", async () => {
    const { put } = fullCache();
    expect(await put("huge", Buffer.alloc(LIMIT_BYTES))).toBe("too-large");
  });

  test("is not needed by a touch of a large value: it stays where it is, and next to nothing leaves", async () => {
    const { engine, evicted, put, endTurn } = fullCache();
    const value = Buffer.alloc(16 * MIB + 12_345);
    for (let at = 0; at < value.length; at += 4096) value[at] = 1 + (at % 251);
    expect(await put("large", value)).toBe("stored");
    for (let number = 0, full = engine.stats().evictions; engine.stats().evictions === full; number++) {
      await put(`more:${number}`, Buffer.alloc(100, 2));
    }
    endTurn();
    evicted.length = 0;
    const usedBytes = engine.stats().usedBytes ?? Number.NaN;
    const expiresAtMs = Date.now() + 3_600_000;
    // Its record has no room for an expiry: it is written anew.
    expect(engine.touch({ key: keyOf("large"), expiresAtMs, seen: null, condition: null })).toBe("touched");
    endTurn();
    expect(evicted).toEqual([expect.any(Number)]);
    expect(evicted[0]).toBeLessThanOrEqual(MOST_EVICTED_IN_A_TURN);
    expect(Math.abs((engine.stats().usedBytes ?? Number.NaN) - usedBytes)).toBeLessThan(MIB);
    const sink = new CollectingSink();
    expect(engine.peek(keyOf("large"), sink)).toBe(true);
    expect([sink.bytes.equals(value), sink.info?.expiresAtMs]).toEqual([true, expiresAtMs]);
    checkInvariants(engine.handle);
    const later = { version: Number.MAX_SAFE_INTEGER as Version, nodeId: 1 };
    expect(engine.delete({ key: keyOf("large"), stamp: later, condition: null, tombstoneUntilMs: NEVER })).toBe(
      "deleted",
    );
    expect(engine.stats().usedBytes).toBeLessThan(usedBytes - 16 * MIB);
    checkInvariants(engine.handle);
  });
});
