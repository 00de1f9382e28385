import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { BUFFER_BYTES, MAX_BUFFERS } from "../../../src/engine/memory/layout.ts";
import { MemoryEngine } from "../../../src/engine/memory/memory-engine.ts";
import { bytesForEntries, divideMemory, MemoryLimitError } from "../../../src/engine/memory/sizing.ts";
import { NEVER } from "../../../src/model/entry.ts";
import { keyOf, stampOf } from "../../support/engine-io.ts";

const MIB = 2 ** 20;
const isPowerOfTwo = (value: number) => Number.isInteger(Math.log2(value));

describe("a division of memory", () => {
  test("stays within the limit, wastes less than a segment, and has tables that a shard's due fits into", () => {
    fc.assert(
      fc.property(
        fc.double({ min: 16, max: Math.log2(MAX_BUFFERS * BUFFER_BYTES), noNaN: true }),
        fc.integer({ min: 1, max: 16 }),
        (bits, threads) => {
          const limitBytes = Math.floor(2 ** bits);
          const { shardCount, segmentBytes, segmentCount, controlBytes, counterBytes, ...more } = divideMemory(
            limitBytes,
            threads,
          );
          const bytes = controlBytes + counterBytes + segmentCount * segmentBytes;
          expect(bytes).toBeLessThanOrEqual(limitBytes);
          // One segment more would have needed its own bytes, and those of its tables.
          expect(limitBytes - bytes).toBeLessThan(segmentBytes + 32 + 8 * shardCount);
          expect([isPowerOfTwo(shardCount), isPowerOfTwo(segmentBytes)]).toEqual([true, true]);
          expect(shardCount).toBeWithin(1, 257);
          expect(segmentBytes).toBeWithin(512, 128 * 1024 + 1);
          expect(more.maxIndexPages).toBeGreaterThan((0.6 * segmentCount) / shardCount);
          expect(more.maxGhostPages).toBeGreaterThan((0.4 * segmentCount) / shardCount);
          expect(segmentCount).toBeGreaterThanOrEqual(8 + more.spareSegments);
        },
      ),
    );
  });

  test.each([
    [64 * 1024, 1, 512],
    [2 * MIB, 1, 16 * 1024],
    [4 * MIB, 2, 16 * 1024],
    [64 * MIB, 32, 16 * 1024],
    [512 * MIB, 256, 16 * 1024],
    [1024 * MIB, 256, 32 * 1024],
    [8192 * MIB, 256, 128 * 1024],
  ])("of %d bytes has %d shards and segments of %d bytes", (limitBytes, shardCount, segmentBytes) => {
    expect(divideMemory(limitBytes, 1)).toMatchObject({ shardCount, segmentBytes });
  });

  test.each([0, 1, 512, 4 * 1024])("of %d bytes is refused: it is too little", (limitBytes) => {
    expect(() => divideMemory(limitBytes, 1)).toThrow(MemoryLimitError);
  });

  test("of more than locations can address is refused, and says how much that is", () => {
    expect(divideMemory(28 * BUFFER_BYTES, 1).segmentCount).toBeGreaterThan(0);
    expect(() => divideMemory(28 * BUFFER_BYTES + 1, 1)).toThrow("above 28 GiB");
  });
});

describe("the memory for entries", () => {
  test.each([
    [10, 10, 10],
    [1000, 16, 100],
    [1000, 16, 5000],
    [20_000, 30, 1],
  ])("%d of them, with keys of %d bytes and values of %d, holds nearly all", (count, keyBytes, valueBytes) => {
    const limitBytes = bytesForEntries(count, keyBytes, valueBytes);
    const engine = MemoryEngine.create({ limitBytes, threads: 1, clock: () => 1, randomWord: () => 0x5eed });
    const source = Buffer.alloc(valueBytes);
    const range = { source, start: 0, end: valueBytes, attributes: { contentType: "text/plain" }, expiresAtMs: NEVER };
    for (let number = 0; number < count; number++) {
      const key = keyOf(String(number).padEnd(keyBytes));
      expect(engine.put({ ...range, key, stamp: stampOf(number + 1), condition: null })).toBe("stored");
    }
    expect(engine.stats().entries).toBeWithin(Math.floor(count * 0.95), count + 1);
  });

  test("grows with their number and with their size", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 10_000 }), fc.integer({ min: 1, max: 2000 }), (count, valueBytes) => {
        const bytes = bytesForEntries(count, 20, valueBytes);
        expect(bytesForEntries(2 * count, 20, valueBytes)).toBeGreaterThanOrEqual(bytes);
        expect(bytesForEntries(count, 20, valueBytes + 64)).toBeGreaterThanOrEqual(bytes);
        expect(bytes).toBeGreaterThan(count * valueBytes);
      }),
    );
  });
});
