import { describe, expect, test } from "bun:test";
import { surplusOf } from "../../src/http/transport/server.ts";
import { connectionsPerThread, descriptorLimit } from "../../src/node/descriptor-limit.ts";

const LIMITS = `Limit                     Soft Limit           Hard Limit           Units
Max processes             unlimited            unlimited            processes
Max open files            1024                 524288               files
`;

describe("the limit on descriptors", () => {
  test("is read from the system, and unknown where that doesn't say", () => {
    expect(descriptorLimit(LIMITS)).toBe(1024);
    expect(descriptorLimit(null)).toBe(Number.POSITIVE_INFINITY);
    expect(descriptorLimit("Max open files            unlimited            unlimited            files\n")).toBe(
      Number.POSITIVE_INFINITY,
    );
  });
});

describe("connections per thread", () => {
  test("are as many as wanted where descriptors suffice", () => {
    expect(connectionsPerThread(10_000, 4, 1_048_576, surplusOf)).toBe(10_000);
    expect(connectionsPerThread(10_000, 4, Number.POSITIVE_INFINITY, surplusOf)).toBe(10_000);
    expect(connectionsPerThread(5, 1, 1024, surplusOf)).toBe(5);
  });

  test.each([64, 128, 256, 1024, 20_000])(
    "leave some of %d descriptors free, however many threads there are",
    (limit) => {
      for (const threads of [1, 2, 8]) {
        const connections = connectionsPerThread(1_000_000, threads, limit, surplusOf);
        expect(connections).toBeGreaterThanOrEqual(1);
        if (limit >= 64 * threads) expect(threads * (connections + surplusOf(connections))).toBeLessThan(limit - 20);
      }
    },
  );
});
