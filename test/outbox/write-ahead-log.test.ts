import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import fc from "fast-check";
import { rowOf } from "../../src/outbox/entry.ts";
import type { Journaled } from "../../src/outbox/write-ahead-log.ts";
import { anyMutation } from "../support/any-mutation.ts";
import { OutboxParts } from "../support/outbox-parts.ts";
import { put, remove } from "../support/test-outbox.ts";

let parts: OutboxParts;
beforeEach(() => {
  parts = new OutboxParts();
});
afterEach(() => parts[Symbol.dispose]());

const log = () => parts.store.journal;
const groups = () => [...log().groups()];

const journaled: fc.Arbitrary<Journaled> = fc
  .tuple(
    fc.constantFrom("backend", "peer:1", "peer:2"),
    anyMutation,
    fc.constantFrom(undefined, "gone" as const, "all-gone" as const),
  )
  .map(([destination, mutation, state]) => {
    const row = rowOf(destination, mutation);
    return state === undefined ? row : { ...row, state };
  });

test("mutations are read as they were written, in their order", () => {
  let id = 0;
  fc.assert(
    fc.property(fc.array(journaled, { minLength: 1, maxLength: 12 }), (rows) => {
      log().append(++id, 1000 + id, rows);
      const group = groups().at(-1);
      expect(group).toEqual({ id, queuedAtMs: 1000 + id, rows, isDamaged: false });
    }),
  );
});

test("a mutation for several destinations is written once", () => {
  const value = "v".repeat(10_000);
  const one = put("k", value, 1);
  log().append(1, 1, [one, { ...one, destination: "peer:1" }, { ...one, destination: "peer:2" }]);
  const { bytes } =
    parts.database.query<{ bytes: number }, []>("SELECT length(frames) AS bytes FROM journal").get() ?? {};
  expect(bytes).toBeLessThan(2 * value.length);
  expect(groups()[0]?.rows.map(({ destination }) => destination)).toEqual(["backend", "peer:1", "peer:2"]);
});

test("mutations that differ in anything else are kept apart", () => {
  const one = put("k", "v", 1);
  const { mutation } = one;
  const others: Journaled[] = [
    put("l", "v", 1),
    remove("k", 1),
    put("k", "w", 1),
    { ...one, mutation: { ...mutation, expiresAtMs: 7 } },
    { ...one, mutation: { ...mutation, value: { ...mutation.value, contentType: "text/plain" } } },
    put("k", "v", 2),
    { ...one, mutation: { ...mutation, stamp: { ...mutation.stamp, nodeId: 9 } } },
    { ...one, state: "gone" },
  ];
  for (const [id, other] of others.entries()) {
    log().append(id + 1, 1, [one, { ...other, destination: "peer:1" }]);
    expect(groups().at(-1)?.rows).toEqual([one, { ...other, destination: "peer:1" }]);
  }
});

test("rows up to one of them are removed, and the others are left", () => {
  for (const id of [1, 2, 3]) log().append(id, id, [put(`k${id}`, "v", id)]);
  log().removeUpTo(2);
  expect(groups().map(({ id }) => id)).toEqual([3]);
});

describe("a damaged row", () => {
  /** What is left of three mutations where one byte of their row is another. */
  function readWith(damage: (frames: Buffer) => Buffer): { readonly keys: string[]; readonly isDamaged: boolean } {
    log().append(1, 1, [put("a", "1", 1), put("b", "2", 2), put("c", "3", 3)]);
    const row = parts.database.query<{ frames: Uint8Array }, []>("SELECT frames FROM journal").get();
    const frames = damage(Buffer.from(row?.frames ?? []));
    parts.database.query("UPDATE journal SET frames = ?").run(frames);
    const [group] = groups();
    log().removeUpTo(1);
    return { keys: (group?.rows ?? []).map(({ key }) => key), isDamaged: group?.isDamaged ?? false };
  }

  test("says so, and gives no mutation that was not written, whichever byte is another", () => {
    const whole = readWith((frames) => frames);
    expect(whole).toEqual({ keys: ["a", "b", "c"], isDamaged: false });
    let length = 1;
    for (let at = 0; at < length; at++) {
      const { keys, isDamaged } = readWith((frames) => {
        length = frames.length;
        frames[at] = (frames[at] ?? 0) ^ 0x40;
        return frames;
      });
      expect([at, isDamaged]).toEqual([at, true]);
      for (const key of keys) expect(["a", "b", "c"]).toContain(key);
      expect(keys.length).toBeLessThan(3);
    }
  });

  test("gives those behind the damage, where its length can be trusted", () => {
    const { keys, isDamaged } = readWith((frames) => {
      frames[frames.indexOf("backend", frames.indexOf("backend") + 1)] = 0x7a;
      return frames;
    });
    expect([isDamaged, keys.includes("c"), keys.includes("b")]).toEqual([true, true, false]);
  });

  test("that was cut off gives what is before the cut", () => {
    const { keys, isDamaged } = readWith((frames) => frames.subarray(0, frames.length - 1));
    expect([keys, isDamaged]).toEqual([["a", "b"], true]);
  });
});
