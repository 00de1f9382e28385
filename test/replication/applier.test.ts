import { beforeEach, describe, expect, test } from "bun:test";
import { RecentInvalidations } from "../../src/cache/recent-invalidations.ts";
import { MemoryEngine } from "../../src/engine/memory/memory-engine.ts";
import { JSON_CONTENT_TYPE, NEVER } from "../../src/model/entry.ts";
import { HybridClock, versionAt } from "../../src/model/hybrid-clock.ts";
import type { PutMutation } from "../../src/model/mutation.ts";
import { toVersion } from "../../src/model/stamp.ts";
import { Applier } from "../../src/replication/applier.ts";
import { RecentTouches } from "../../src/replication/recent-touches.ts";
import { CollectingSink, keyOf } from "../support/collecting-sink.ts";

const NOW_MS = 1_800_000_000_000;
const NOW = versionAt(NOW_MS);
const ALL_IS_KNOWN = toVersion(0);

let engine: MemoryEngine;
let clock: HybridClock;
let applier: Applier;

beforeEach(() => {
  const nowMs = () => NOW_MS;
  engine = MemoryEngine.create({ limitBytes: 8 * 1024 ** 2, threads: 1, clock: nowMs, versioned: true });
  clock = HybridClock.create(nowMs);
  const invalidations = RecentInvalidations.create();
  applier = new Applier({
    onApply: () => {},
    ...{ engine, clock, invalidations, seen: null, nowMs, touches: new RecentTouches() },
    maxSkewMs: 30_000,
    tombstoneMs: 600_000,
  });
});

function put(key: string, value: string, version: number, more: Partial<PutMutation> = {}): PutMutation {
  const stamp = { version: toVersion(version), nodeId: 9 };
  const bytes = Buffer.from(value);
  return {
    kind: "put",
    key,
    value: { bytes, contentType: JSON_CONTENT_TYPE },
    expiresAtMs: NEVER,
    stamp,
    ...more,
  };
}

function stored(key: string): string | null {
  const sink = new CollectingSink();
  return engine.peek(keyOf(key), sink) ? sink.bytes.toString() : null;
}

function expiryOf(key: string): number | null {
  const sink = new CollectingSink();
  return engine.peek(keyOf(key), sink) ? (sink.info?.expiresAtMs ?? null) : null;
}

describe("what a peer says", () => {
  test("is done with the peer's own stamp, and the clock passes it", async () => {
    expect(await applier.apply(put("a", "1", NOW + 5000), ALL_IS_KNOWN)).toBe("applied");
    expect(stored("a")).toBe("1");
    expect(engine.stampOf(keyOf("a"))).toEqual({ version: toVersion(NOW + 5000), nodeId: 9 });
    expect(clock.next()).toBeGreaterThan(NOW + 5000);
  });

  test("loses against what is newer here, and does nothing the second time", async () => {
    await applier.apply(put("a", "2", NOW - 10), ALL_IS_KNOWN);
    expect(await applier.apply(put("a", "1", NOW - 20), ALL_IS_KNOWN)).toBe("superseded");
    expect(await applier.apply(put("a", "2", NOW - 10), ALL_IS_KNOWN)).toBe("superseded");
    expect(stored("a")).toBe("2");
  });

  test("a delete keeps older puts out; a newer one comes in", async () => {
    const stamp = { version: toVersion(NOW - 10), nodeId: 9 };
    await applier.apply({ kind: "delete", key: "a", stamp }, ALL_IS_KNOWN);
    await applier.apply(put("a", "1", NOW - 20), ALL_IS_KNOWN);
    expect(stored("a")).toBeNull();
    await applier.apply(put("a", "2", NOW - 5), ALL_IS_KNOWN);
    expect(stored("a")).toBe("2");
  });

  test("a key that is outdated loses what is older, and keeps or takes what has just that stamp", async () => {
    const stamp = { version: toVersion(NOW - 10), nodeId: 9 };
    await applier.apply(put("a", "old", NOW - 20), ALL_IS_KNOWN);
    await applier.apply(put("b", "new", NOW - 10), ALL_IS_KNOWN);
    await applier.apply({ kind: "outdated", key: "a", stamp }, ALL_IS_KNOWN);
    await applier.apply({ kind: "outdated", key: "b", stamp }, ALL_IS_KNOWN);
    expect([stored("a"), stored("b")]).toEqual([null, "new"]);
    await applier.apply(put("a", "new", NOW - 10), ALL_IS_KNOWN);
    expect(stored("a")).toBe("new");
  });

  test("a delete by pattern meets what is older, also what comes later", async () => {
    await applier.apply(put("user:1", "1", NOW - 20), ALL_IS_KNOWN);
    await applier.apply(put("user:2", "2", NOW - 5), ALL_IS_KNOWN);
    await applier.apply(put("other", "3", NOW - 20), ALL_IS_KNOWN);
    const stamp = { version: toVersion(NOW - 10), nodeId: 9 };
    await applier.apply({ kind: "invalidate", pattern: "user:*", stamp }, ALL_IS_KNOWN);
    expect(await applier.apply(put("user:3", "4", NOW - 15), ALL_IS_KNOWN)).toBe("superseded");
    expect(["user:1", "user:2", "user:3", "other"].map(stored)).toEqual([null, "2", null, "3"]);
    // Whoever sent it is told: where it lost its disk, it may have forgotten even what it deleted itself.
    const older = { version: toVersion(NOW - 15), nodeId: 9 };
    expect(applier.invalidationOf("user:3", older)).toEqual(stamp);
    expect(applier.invalidationOf("other", older)).toBeNull();
  });

  test("a clear meets everything that is older", async () => {
    await applier.apply(put("a", "1", NOW - 20), ALL_IS_KNOWN);
    await applier.apply(put("b", "2", NOW - 5), ALL_IS_KNOWN);
    const stamp = { version: toVersion(NOW - 10), nodeId: 9 };
    await applier.apply({ kind: "invalidate", pattern: null, stamp }, ALL_IS_KNOWN);
    await applier.apply(put("c", "3", NOW - 15), ALL_IS_KNOWN);
    expect(["a", "b", "c"].map(stored)).toEqual([null, "2", null]);
  });

  test("a put that has expired on its way removes what it would have replaced", async () => {
    await applier.apply(put("a", "1", NOW - 20), ALL_IS_KNOWN);
    await applier.apply(put("a", "2", NOW - 10, { expiresAtMs: NOW_MS - 1 }), ALL_IS_KNOWN);
    expect(stored("a")).toBeNull();
    expect(await applier.apply(put("a", "1", NOW - 20), ALL_IS_KNOWN)).toBe("superseded");
  });

  test("a value that can't fit here removes what it would have replaced", async () => {
    await applier.apply(put("a", "1", NOW - 20), ALL_IS_KNOWN);
    await applier.apply(put("a", `"${"x".repeat(6 * 1024 ** 2)}"`, NOW - 10), ALL_IS_KNOWN);
    expect(stored("a")).toBeNull();
    expect(await applier.apply(put("a", "1", NOW - 15), ALL_IS_KNOWN)).toBe("superseded");
  });

  test("with a stamp too far in the future is refused, its stamp not adopted, what it replaces not served", async () => {
    const future = versionAt(NOW_MS + 31_000);
    await applier.apply(put("a", "1", NOW - 20), ALL_IS_KNOWN);
    await applier.apply(put("user:1", "1", NOW - 20), ALL_IS_KNOWN);
    expect(await applier.apply(put("a", "2", future), ALL_IS_KNOWN)).toBe("refused");
    const stamp = { version: future, nodeId: 9 };
    expect(await applier.apply({ kind: "invalidate", pattern: "user:*", stamp }, ALL_IS_KNOWN)).toBe("refused");
    expect([stored("a"), stored("user:1")]).toEqual([null, null]);
    expect(clock.next()).toBeLessThan(versionAt(NOW_MS + 1000));
    expect(await applier.apply(put("b", "3", versionAt(NOW_MS + 29_000)), ALL_IS_KNOWN)).toBe("applied");
  });
});

test("a stamp from too far ahead that a peer says a put lost against keeps nothing out", async () => {
  await applier.apply(put("a", "1", NOW - 20), ALL_IS_KNOWN);
  const stamp = (version: number) => ({ version: toVersion(version), nodeId: 9 });
  expect(await applier.outdate("a", stamp(versionAt(NOW_MS + 3_600_000)))).toBe("refused");
  expect(stored("a")).toBe("1");
  expect(await applier.outdate("a", stamp(NOW - 10))).toBe("applied");
  expect(stored("a")).toBeNull();
});

describe("a node that has started anew", () => {
  test("takes what may be older than what it knew only in the place of something older", async () => {
    await applier.apply(put("a", "1", NOW - 30), ALL_IS_KNOWN);
    const unknownUntil = toVersion(NOW - 10);
    expect(await applier.apply(put("a", "2", NOW - 20), unknownUntil)).toBe("applied");
    expect(await applier.apply(put("b", "2", NOW - 20), unknownUntil)).toBe("unplaced");
    expect(await applier.apply(put("c", "2", NOW - 5), unknownUntil)).toBe("applied");
    expect(["a", "b", "c"].map(stored)).toEqual(["2", null, "2"]);
  });

  test("takes what it could not place when its sender knows more", async () => {
    expect(await applier.apply(put("b", "2", NOW - 20), toVersion(NOW - 10))).toBe("unplaced");
    expect(await applier.apply(put("b", "2", NOW - 20), ALL_IS_KNOWN)).toBe("applied");
    expect(stored("b")).toBe("2");
  });

  test("takes the entries that a peer gives it to start with, unless it knows something newer", async () => {
    expect(await applier.restore(put("a", "1", NOW - 30))).toBe("applied");
    await applier.apply(put("b", "2", NOW - 5), ALL_IS_KNOWN);
    expect(await applier.restore(put("b", "1", NOW - 30))).toBe("superseded");
    expect([stored("a"), stored("b")]).toEqual(["1", "2"]);
  });
});

describe("a put whose touch came first", () => {
  const expiresAtMs = NOW_MS + 60_000;
  const touch = { version: toVersion(NOW - 1), nodeId: 3 };

  test.each([
    ["has run out since", NOW_MS - 1],
    ["would last longer", NEVER],
  ])("ends when the touch says, also where its own time %s", async (_, ownEndMs) => {
    const touched = { ...put("a", "1", NOW - 30, { expiresAtMs }), kind: "touch", touch } as const;
    // It is about what a node that has started anew can't place.
    expect(await applier.apply(touched, toVersion(NOW - 10))).toBe("unplaced");
    expect(await applier.apply(put("a", "1", NOW - 30, { expiresAtMs: ownEndMs }), ALL_IS_KNOWN)).toBe("applied");
    expect([stored("a"), expiryOf("a")]).toEqual(["1", expiresAtMs]);
  });

  test("stays as it is where a touch from too far ahead comes", async () => {
    const ahead = { version: versionAt(NOW_MS + 60_000), nodeId: 3 };
    await applier.apply(put("a", "1", NOW - 30), ALL_IS_KNOWN);
    const touched = { ...put("a", "1", NOW - 30, { expiresAtMs }), kind: "touch", touch: ahead } as const;
    expect(await applier.apply(touched, ALL_IS_KNOWN)).toBe("refused");
    expect([expiryOf("a"), clock.next() < versionAt(NOW_MS + 1000)]).toEqual([NEVER, true]);
  });
});
