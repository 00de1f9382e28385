import { describe, expect, test } from "bun:test";
import type { OutboxEntry } from "../../src/outbox/entry.ts";
import { OutboxParts } from "../support/outbox-parts.ts";
import { put } from "../support/test-outbox.ts";

const ALL = { limitEntries: 1000, limitBytes: 1_000_000, queuedUntilMs: Number.MAX_SAFE_INTEGER };
const keys = (entries: readonly OutboxEntry[]) => entries.map(({ key }) => key);

describe.each([
  ["memory", 1000],
  ["the table", 0],
])("from %s", (_, rows) => {
  test("what waits longest is taken first, each key once until it is settled", () => {
    using parts = new OutboxParts({ rows });
    for (const [at, key] of [..."abc"].entries()) parts.append(put(key, "v", at + 1));
    parts.append(put("last", "v", 9));
    const taken = parts.taker.take("backend", { ...ALL, limitEntries: 2 });
    expect(keys(taken)).toEqual(["a", "b"]);
    expect(keys(parts.taker.take("backend", ALL))).toEqual(["c", "last"]);
    expect(keys(parts.taker.take("backend", ALL))).toEqual([]);
    const [first] = taken;
    if (first === undefined) throw new Error("two were taken");
    parts.settle({ kind: "released", entry: first });
    expect(keys(parts.taker.take("backend", ALL))).toEqual(["a"]);
  });

  test("no more is taken than there is room for, but one always is", () => {
    using parts = new OutboxParts({ rows });
    for (const [at, key] of [..."abcd"].entries()) parts.append(put(key, "v".repeat(100), at + 1));
    expect(keys(parts.taker.take("backend", { ...ALL, limitBytes: 1 }))).toEqual(["a"]);
    expect(keys(parts.taker.take("backend", { ...ALL, limitBytes: 400 }))).toEqual(["b", "c"]);
  });

  test("what was queued after a time is left, and what a clock set back has put into the future is not", () => {
    using parts = new OutboxParts({ rows });
    parts.append(put("a", "v", 1));
    parts.nowMs += 100;
    parts.append(put("b", "v", 2));
    parts.append(put("c", "v", 3));
    expect(keys(parts.taker.take("backend", { ...ALL, queuedUntilMs: parts.nowMs - 1 }))).toEqual(["a"]);
    parts.nowMs -= 50;
    expect(keys(parts.taker.take("backend", { ...ALL, queuedUntilMs: 0 }))).toEqual(["b", "c"]);
  });

  test("of named keys those are taken that wait and are not in flight", () => {
    using parts = new OutboxParts({ rows });
    for (const [at, key] of [..."abc"].entries()) parts.append(put(key, "v", at + 1));
    parts.inFlight.of("backend").add("b");
    expect(keys(parts.taker.takeKeys("backend", ["c", "b", "a", "nobody"]))).toEqual(["c", "a"]);
    expect(keys(parts.taker.takeKeys("backend", ["a"]))).toEqual([]);
  });
});

test("what was postponed is taken when it is due, before what waits", () => {
  using parts = new OutboxParts();
  parts.append(put("a", "v", 1), put("b", "v", 2));
  const [entry] = parts.taker.take("backend", { ...ALL, limitEntries: 1 });
  if (entry === undefined) throw new Error("one was taken");
  parts.settle({ kind: "postponed", entry, reason: "later", dueAtMs: parts.nowMs + 100 });
  parts.nowMs += 99;
  parts.append(put("c", "v", 3));
  expect(keys(parts.taker.take("backend", { ...ALL, limitEntries: 1 }))).toEqual(["b"]);
  parts.nowMs += 1;
  expect(keys(parts.taker.take("backend", ALL))).toEqual(["a", "c"]);
});

test("a row that is not what was written goes to the dead letters, and the others are taken", () => {
  using parts = new OutboxParts({ rows: 0 });
  for (const [at, key] of [..."abc"].entries()) parts.append(put(key, "v", at + 1));
  parts.database.run("UPDATE entries SET mutation = x'00' WHERE key = 'b'");
  expect(keys(parts.taker.take("backend", ALL))).toEqual(["a", "c"]);
  expect(parts.counts.of("backend")).toMatchObject({ pending: 2, dead: 1 });
  expect(parts.store.dead("backend", 0, 10).map(({ key }) => key)).toEqual(["b"]);
});
