import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { toVersion } from "../../src/model/stamp.ts";
import { costBytes, type OutboxEntry } from "../../src/outbox/entry.ts";
import { OutboxParts } from "../support/outbox-parts.ts";
import { put, remove } from "../support/test-outbox.ts";

function entryOf(parts: OutboxParts, key: string): OutboxEntry {
  const entry = parts.queue.entry("backend", key);
  if (entry === null) throw new Error(`${key} does not wait in memory`);
  return entry;
}

const version = (parts: OutboxParts, key: string): number | null =>
  parts.queue.find("backend", key)?.stamp.version ?? null;

describe("a key", () => {
  test("waits with its newest mutation, at the place of the first", () => {
    using parts = new OutboxParts();
    parts.append(put("a", "1", 1), put("b", "2", 2));
    parts.append(put("a", "long", 4));
    parts.append(put("a", "old", 3));
    const waiting: string[] = [];
    parts.queue.eachWaiting("backend", ({ key, mutation }) => waiting.push(`${key}@${mutation.stamp.version}`) > 0);
    expect(waiting).toEqual(["a@4", "b@2"]);
    const bytes = costBytes(put("a", "long", 4)) + costBytes(put("b", "2", 2));
    expect(parts.counts.of("backend")).toEqual({ pending: 2, dead: 0, bytes });
  });

  test("that is in flight is not waiting, and gets its turn when something newer has come", () => {
    using parts = new OutboxParts();
    parts.append(put("a", "1", 1));
    const entry = entryOf(parts, "a");
    parts.inFlight.of("backend").add("a");
    parts.append(remove("a", 2));
    parts.queue.eachWaiting("backend", () => {
      throw new Error("nothing can be taken");
    });
    parts.settle({ kind: "done", entry });
    expect([version(parts, "a"), parts.counts.of("backend").pending]).toEqual([2, 1]);
  });

  test("that was done is gone, here and after a restart", () => {
    using parts = new OutboxParts();
    parts.append(put("a", "1", 1), put("b", "2", 2));
    parts.settle({ kind: "done", entry: entryOf(parts, "a") });
    parts.append(put("c", "3", 3));
    expect([version(parts, "a"), parts.counts.of("backend").pending]).toEqual([null, 2]);
    const { queue, counts, newestVersion } = parts.reopened();
    expect(["a", "b", "c"].map((key): number | undefined => queue.find("backend", key)?.stamp.version)).toEqual([
      undefined,
      2,
      3,
    ]);
    expect([counts.of("backend"), newestVersion]).toEqual([parts.counts.of("backend"), 3]);
  });
});

describe("what moves to the table", () => {
  test("is what was refused: it keeps its key, its counts, and gives way to what is newer", () => {
    using parts = new OutboxParts();
    parts.append(put("a", "1", 1), put("b", "2", 2));
    const entry = entryOf(parts, "a");
    parts.settle({ kind: "refused", entry, reason: "no", dueAtMs: null });
    expect([version(parts, "a"), parts.tableKeys()]).toEqual([null, ["a"]]);
    expect(parts.counts.of("backend")).toMatchObject({ pending: 1, dead: 1 });
    parts.append(put("a", "older", 1));
    expect(parts.counts.of("backend")).toMatchObject({ pending: 1, dead: 1 });
    parts.append(put("a", "newer", 3));
    expect([version(parts, "a"), parts.tableKeys()]).toEqual([3, []]);
    expect(parts.counts.of("backend")).toMatchObject({ pending: 2, dead: 0 });
  });

  test("is what waits longest where there is too much, but nothing that is in flight", () => {
    using parts = new OutboxParts({ rows: 2 });
    parts.inFlight.of("backend").add("a");
    for (const [at, key] of [..."abcd"].entries()) parts.append(put(key, "v", at + 1));
    expect(parts.tableKeys()).toEqual(["b", "c"]);
    expect(parts.counts.of("backend").pending).toBe(4);
    const { queue, counts } = parts.reopened();
    expect([..."abcd"].map((key) => queue.find("backend", key) !== null)).toEqual([true, false, false, true]);
    expect(counts.of("backend")).toEqual(parts.counts.of("backend"));
  });

  test("is written there in place where it waits, and is not in the journal besides", () => {
    using parts = new OutboxParts({ rows: 0 });
    parts.append(put("a", "1", 1));
    parts.append(put("b", "2", 2));
    parts.append(put("a", "3", 3));
    expect(parts.tableKeys()).toEqual(["a", "b"]);
    expect(version(parts, "a")).toBeNull();
    expect(parts.counts.of("backend").pending).toBe(2);
  });
});

describe("the journal", () => {
  test("loses its beginning when what it holds is done", () => {
    using parts = new OutboxParts();
    parts.append(put("a", "1", 1));
    for (let number = 0; number < 40; number++) {
      parts.append(put("b", "v", 2 + number));
      parts.settle({ kind: "done", entry: entryOf(parts, "b") });
    }
    // The first row is still needed.
    expect(parts.journalRows()).toBeGreaterThan(40);
    parts.settle({ kind: "done", entry: entryOf(parts, "a") });
    parts.append(put("c", "1", 100));
    expect(parts.journalRows()).toBe(1);
    expect(parts.reopened().queue.entry("backend", "c")?.key).toBe("c");
  });

  test("holds what waits long at its end, so that its beginning can go", () => {
    using parts = new OutboxParts({ ageMs: 1000 });
    parts.append(put("long", "1", 1));
    for (let number = 0; number < 20; number++) {
      parts.append(put("b", "v", 2 + number));
      parts.settle({ kind: "done", entry: entryOf(parts, "b") });
    }
    parts.nowMs += 1000;
    parts.append(put("c", "1", 100));
    expect(parts.journalRows()).toBe(1);
    const { queue } = parts.reopened();
    expect(queue.entry("backend", "long")?.mutation.stamp.version).toBe(toVersion(1));
  });
});

test("a destination that is cleared has nothing, here and after a restart", () => {
  using parts = new OutboxParts({ rows: 2 });
  parts.append(put("a", "1", 1, "b"), put("c", "1", 2), put("d", "1", 3), put("e", "1", 4));
  parts.queue.clear("backend", parts.counts);
  parts.append(put("x", "1", 5));
  expect(parts.counts.of("backend").pending).toBe(1);
  const { queue, counts } = parts.reopened();
  expect(["c", "d", "e", "x"].filter((key) => queue.find("backend", key) !== null)).toEqual(["x"]);
  expect([counts.of("backend").pending, counts.of("b").pending]).toEqual([1, 1]);
});

test("a commit that fails leaves everything as it was", () => {
  using parts = new OutboxParts({ rows: 1 });
  parts.append(put("a", "1", 1), put("b", "2", 2));
  const before = [version(parts, "a"), version(parts, "b")];
  parts.failing((queue) => queue.append([put("b", "3", 3), put("c", "4", 4)], 99, parts.counts.fork()));
  expect([version(parts, "a"), version(parts, "b"), version(parts, "c")]).toEqual([...before, null]);
});

test("in any order of calls a restart finds what waits, and nothing that was done", () => {
  const call = fc.record({
    kind: fc.constantFrom("append", "append", "done", "postponed", "dead"),
    key: fc.nat(3),
    isOld: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(call, { maxLength: 25 }), fc.constantFrom(0, 1, 100), (calls, rows) => {
      using parts = new OutboxParts({ rows });
      const newest = new Map<string, number>();
      for (const [at, { kind, key: number, isOld }] of calls.entries()) {
        const key = `k${number}`;
        const entry = parts.queue.entry("backend", key);
        if (kind === "append") {
          const of = isOld ? Math.max(1, at - 5) : at + 1;
          parts.append(put(key, "v", of));
          newest.set(key, Math.max(of, newest.get(key) ?? 0));
        } else if (entry === null) continue;
        else if (kind === "done") {
          parts.settle({ kind, entry });
          newest.delete(key);
        } else if (kind === "postponed") parts.settle({ kind, entry, reason: "x", dueAtMs: 5 });
        else parts.settle({ kind: "refused", entry, reason: "x", dueAtMs: null });
      }
      const { queue, counts } = parts.reopened();
      const found = [...newest.keys()].map((key) => {
        const head = parts.store.find("backend", key);
        return queue.find("backend", key)?.stamp.version ?? head?.version;
      });
      expect(found).toEqual([...newest.values()].map((one) => toVersion(one)));
      expect(counts.of("backend")).toEqual(parts.counts.of("backend"));
      const { pending, dead } = counts.of("backend");
      expect(pending + dead).toBe(newest.size);
    }),
  );
});
