import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import type { Mutation } from "../../src/model/mutation.ts";
import { toVersion } from "../../src/model/stamp.ts";
import { MutationWriter, readMutations } from "../../src/node/mutation-frames.ts";
import { anyMutation } from "../support/any-mutation.ts";

const recorded = fc
  .tuple(anyMutation, fc.boolean())
  .map(([mutation, isReplicated]): Mutation => (isReplicated ? { ...mutation, isReplicated } : mutation));

describe("mutations on their way to the main thread", () => {
  test("come as they were, however many go together", () => {
    const writer = new MutationWriter();
    fc.assert(
      fc.property(fc.array(recorded, { maxLength: 40 }), (mutations) => {
        for (const one of mutations) writer.add(one);
        expect(writer.count).toBe(mutations.length);
        expect(readMutations(writer.take())).toEqual(mutations);
        expect(writer.count).toBe(0);
      }),
      { numRuns: 300 },
    );
  });

  test("may be larger than any before", () => {
    const value = { bytes: Buffer.alloc(16 * 1024 * 1024, "x"), contentType: "application/octet-stream" };
    const large = {
      kind: "put",
      key: "a",
      value,
      expiresAtMs: 0,
      stamp: { version: toVersion(1), nodeId: 1 },
    } as const;
    const writer = new MutationWriter();
    writer.add(large);
    writer.add({ ...large, key: "b" });
    const [first, second] = readMutations(writer.take());
    expect(first?.kind === "put" && first.value.bytes.equals(value.bytes)).toBe(true);
    expect(second).toMatchObject({ key: "b", stamp: large.stamp });
  });

  test("arrive whole at another thread, and the writer does not see what becomes of them", () => {
    const writer = new MutationWriter();
    const one: Mutation = { kind: "delete", key: "a", stamp: { version: toVersion(1), nodeId: 1 } };
    writer.add(one);
    const bytes = writer.take();
    const there = structuredClone(bytes, { transfer: [bytes.buffer] });
    writer.add({ ...one, key: "b" });
    expect(readMutations(there)).toMatchObject([{ key: "a" }]);
    expect(readMutations(writer.take())).toMatchObject([{ key: "b" }]);
  });
});
