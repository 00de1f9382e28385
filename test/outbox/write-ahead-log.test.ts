import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import fc from "fast-check";
import type { Journaled } from "../../src/outbox/write-ahead-log.ts";
import { OutboxParts } from "../support/outbox-parts.ts";
import { put, remove } from "../support/test-outbox.ts";

let parts: OutboxParts;
beforeEach(() => {
  parts = new OutboxParts();
});
afterEach(() => parts[Symbol.dispose]());

const log = () => parts.store.journal;
const groups = () => [...log().groups()];

const mutation: fc.Arbitrary<Journaled> = fc
  .record({
    destination: fc.constantFrom("backend", "peer:1", "peer:2"),
    key: fc.string({ unit: "grapheme", minLength: 1 }),
    kind: fc.constantFrom("put" as const, "delete" as const, "invalidate" as const, "touch" as const),
    value: fc.option(fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes))),
    contentType: fc.constantFrom("", "application/json", "text/plain; charset=utf-8"),
    expiresAtMs: fc.constantFrom(0, 1, 1_700_000_000_123, Number.MAX_SAFE_INTEGER),
    version: fc.maxSafeNat(),
    nodeId: fc.integer({ min: 0, max: 0xffff_ffff }),
    traceContext: fc.constantFrom(undefined, "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
    isGone: fc.boolean(),
  })
  .map(({ version, nodeId, isGone, ...rest }) => {
    const stamp = { ...put("", "", version).stamp, nodeId };
    return isGone ? { ...rest, stamp, isGone } : { ...rest, stamp };
  });

test("mutations are read as they were written, in their order", () => {
  let id = 0;
  fc.assert(
    fc.property(fc.array(mutation, { minLength: 1, maxLength: 12 }), (mutations) => {
      log().append(++id, 1000 + id, mutations);
      const group = groups().at(-1);
      expect(group).toEqual({ id, queuedAtMs: 1000 + id, mutations, isDamaged: false });
    }),
  );
});

test("a mutation for several destinations is written once", () => {
  const value = Buffer.alloc(10_000, 1);
  const one = { ...put("k", "", 1), value };
  log().append(1, 1, [one, { ...one, destination: "peer:1" }, { ...one, destination: "peer:2" }]);
  const { bytes } =
    parts.database.query<{ bytes: number }, []>("SELECT length(frames) AS bytes FROM journal").get() ?? {};
  expect(bytes).toBeLessThan(2 * value.length);
  expect(groups()[0]?.mutations.map(({ destination }) => destination)).toEqual(["backend", "peer:1", "peer:2"]);
});

test("mutations that differ in anything else are kept apart", () => {
  const one = put("k", "v", 1);
  const others: Journaled[] = [
    { ...one, key: "l" },
    { ...remove("k", 1), value: one.value },
    { ...one, value: Buffer.from("w") },
    { ...one, expiresAtMs: 7 },
    { ...one, contentType: "text/plain" },
    put("k", "v", 2),
    { ...one, stamp: { ...one.stamp, nodeId: 9 } },
    { ...one, isGone: true },
  ];
  for (const [id, other] of others.entries()) {
    log().append(id + 1, 1, [one, { ...other, destination: "peer:1" }]);
    expect(groups().at(-1)?.mutations).toEqual([one, { ...other, destination: "peer:1" }]);
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
    return { keys: (group?.mutations ?? []).map(({ key }) => key), isDamaged: group?.isDamaged ?? false };
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
      frames[frames.indexOf("backendb") + "backend".length] = 0x7a;
      return frames;
    });
    expect([isDamaged, keys.includes("c"), keys.includes("b")]).toEqual([true, true, false]);
  });

  test("that was cut off gives what is before the cut", () => {
    const { keys, isDamaged } = readWith((frames) => frames.subarray(0, frames.length - 1));
    expect([keys, isDamaged]).toEqual([["a", "b"], true]);
  });
});
