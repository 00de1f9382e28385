import { describe, expect, test } from "bun:test";
import { ConfigError } from "../../src/config/errors.ts";
import { divideProcessMemory, type MemoryDemand } from "../../src/config/memory-division.ts";

const MIB = 1024 ** 2;
const ALONE: MemoryDemand = {
  limitBytes: 1024 * MIB,
  entryBytes: null,
  workers: 2,
  hasBackend: false,
  hasPeers: false,
  keepsStale: false,
  redis: null,
};

/** In MiB. */
function divided(demand: Partial<MemoryDemand>): readonly number[] {
  const { entryBytes, inFlightBytes, runtimeBytes } = divideProcessMemory({ ...ALONE, ...demand });
  return [entryBytes, inFlightBytes, runtimeBytes].map((bytes) => bytes / MIB);
}

function refusal(demand: Partial<MemoryDemand>): string {
  try {
    divideProcessMemory({ ...ALONE, ...demand });
  } catch (error) {
    if (error instanceof ConfigError) return error.message;
    throw error;
  }
  throw new Error("it was not refused");
}

describe("the memory of the process", () => {
  test.each([{}, { workers: 1 }, { hasBackend: true }, { hasPeers: true }, { limitBytes: 32 * 1024 * MIB }])(
    "is the sum of its parts: %p",
    (demand) => {
      const { limitBytes, entryBytes, inFlightBytes, runtimeBytes } = divideProcessMemory({ ...ALONE, ...demand });
      expect(entryBytes + inFlightBytes + runtimeBytes).toBeLessThanOrEqual(limitBytes);
      if (limitBytes < 28 * 1024 * MIB) expect(entryBytes + inFlightBytes + runtimeBytes).toBe(limitBytes);
    },
  );

  test("grows by a part with each thread, with a database, with peers and with Redis", () => {
    const runtime = (demand: Partial<MemoryDemand>) => divided(demand)[2] ?? 0;
    const base = runtime({});
    expect(runtime({ workers: 3 })).toBeGreaterThan(base);
    expect(runtime({ workers: 1 })).toBeLessThan(base);
    expect(runtime({ hasBackend: true })).toBeGreaterThan(base);
    expect(runtime({ hasPeers: true })).toBeGreaterThan(base);
    expect(runtime({ redis: { nearCacheBytes: 100 * MIB } })).toBeGreaterThan(base + 100);
  });

  test("gives entries what is said by hand, and bytes in flight the rest, to their own bound", () => {
    expect(divided({ entryBytes: 600 * MIB })).toEqual([600, 1024 - 264 - 600, 264]);
    expect(divided({ entryBytes: 64 * MIB, limitBytes: 8 * 1024 * MIB })).toEqual([64, 512, 264]);
  });

  test("gives nothing to entries that Redis alone keeps, and something to the database's stale values", () => {
    const redis = { nearCacheBytes: null };
    expect(divided({ redis, entryBytes: 64 * MIB })[0]).toBe(0);
    expect(divided({ redis, entryBytes: 64 * MIB, hasBackend: true, keepsStale: true })[0]).toBe(64);
  });

  test.each<Partial<MemoryDemand>>([
    {},
    { workers: 1 },
    { workers: 64 },
    { hasBackend: true, hasPeers: true },
    { entryBytes: 512 * MIB },
    { redis: { nearCacheBytes: 8 * MIB } },
  ])("that is too small is refused with the smallest that works: %p", (demand) => {
    const message = refusal({ ...demand, limitBytes: 64 * MIB });
    const smallest = Number(/and (\d+)MiB is the smallest that works with/.exec(message)?.[1]) * MIB;
    expect(divideProcessMemory({ ...ALONE, ...demand, limitBytes: smallest }).limitBytes).toBe(smallest);
    expect(refusal({ ...demand, limitBytes: smallest - MIB })).toContain("is the smallest that works");
  });

  test("is refused in one line that names what it is for", () => {
    expect(refusal({ limitBytes: 64 * MIB, hasBackend: true, entryBytes: 32 * MIB })).toBe(
      "SERV_CACHE_MAX_MEMORY is 64MiB for the whole process, and 368MiB is the smallest that works with " +
        "2 threads, a database, SERV_CACHE_ENTRY_MEMORY of 32MiB: give it more, or set less of these",
    );
  });
});
