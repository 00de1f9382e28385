import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import type { Mutation } from "../../src/model/mutation.ts";
import type { Version } from "../../src/model/stamp.ts";
import { MutationWriter, readMutations } from "../../src/node/mutation-codec.ts";

/** Any text that UTF-8 can hold: no lone surrogates. */
const text = (maxBytes: number) =>
  fc.string({ unit: "binary", maxLength: maxBytes / 4 }).filter((made) => made.isWellFormed());
const latin = fc.string({ unit: fc.integer({ min: 0x20, max: 0x7e }).map((code) => String.fromCharCode(code)) });
const common = {
  stamp: fc.record({
    version: fc.maxSafeNat().map((version) => version as Version),
    nodeId: fc.nat(2 ** 32 - 1),
  }),
  isReplicated: fc.boolean(),
  traceContext: fc.option(
    latin.filter((made) => made !== ""),
    { nil: undefined },
  ),
};
const key = text(1024).filter((made) => made !== "");
const value = fc.record({
  bytes: fc.uint8Array({ maxLength: 5_000 }).map((bytes) => Buffer.from(bytes)),
  contentType: latin,
});
const mutation: fc.Arbitrary<Mutation> = fc.oneof(
  fc.record({
    kind: fc.constant("put" as const),
    ...common,
    key,
    value,
    expiresAtMs: fc.maxSafeNat(),
    touch: fc.option(common.stamp),
  }),
  fc.record({ kind: fc.constant("delete" as const), ...common, key }),
  fc.record({ kind: fc.constant("invalidate" as const), ...common, pattern: fc.option(text(1024)) }),
);

describe("mutations as bytes", () => {
  test("come back as they were, however many go together", () => {
    const writer = new MutationWriter();
    fc.assert(
      fc.property(fc.array(mutation, { maxLength: 40 }), (mutations) => {
        for (const one of mutations) writer.add(one);
        expect(writer.count).toBe(mutations.length);
        expect(readMutations(writer.take())).toEqual(mutations);
        expect(writer.count).toBe(0);
      }),
      { numRuns: 300 },
    );
  });

  test("may be larger than any before: 16 MiB, and the longest key", () => {
    const large: Mutation = {
      kind: "put",
      key: "é".repeat(512),
      value: { bytes: Buffer.alloc(16 * 1024 * 1024, "x"), contentType: "application/octet-stream" },
      expiresAtMs: 0,
      touch: null,
      stamp: { version: Number.MAX_SAFE_INTEGER as Version, nodeId: 2 ** 32 - 1 },
      isReplicated: false,
      traceContext: undefined,
    };
    const writer = new MutationWriter();
    writer.add(large);
    writer.add({ ...large, key: "b" });
    const [first, second] = readMutations(writer.take());
    expect(first?.kind === "put" && first.value.bytes.equals(large.value.bytes)).toBe(true);
    expect(second).toMatchObject({ key: "b", stamp: large.stamp });
  });

  test("arrive whole at another thread, and the writer does not see what becomes of them", () => {
    const writer = new MutationWriter();
    const one: Mutation = {
      kind: "delete",
      key: "a",
      stamp: { version: 1 as Version, nodeId: 1 },
      isReplicated: false,
    };
    writer.add(one);
    const bytes = writer.take();
    const there = structuredClone(bytes, { transfer: [bytes.buffer] });
    writer.add({ ...one, key: "b" });
    expect(readMutations(there)).toMatchObject([{ key: "a" }]);
    expect(readMutations(writer.take())).toMatchObject([{ key: "b" }]);
  });
});
