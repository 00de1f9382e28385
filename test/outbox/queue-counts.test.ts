import { expect, test } from "bun:test";
import { QueueCounts } from "../../src/outbox/queue-counts.ts";

const NONE = { pending: 0, dead: 0, bytes: 0 };

test("counts begin with the totals of a file, and change by what is added", () => {
  const counts = new QueueCounts([
    { destination: "a", pending: 2, dead: 1, bytes: 30 },
    { destination: "b", pending: 4, dead: 0, bytes: 50 },
  ]);
  counts.add("a", { pending: -1, dead: 1, bytes: 5 });
  counts.add("c", { bytes: 7 });
  expect(counts.of("a")).toEqual({ pending: 1, dead: 2, bytes: 35 });
  expect(counts.of("c")).toEqual({ ...NONE, bytes: 7 });
  expect(counts.of("nobody")).toEqual(NONE);
  expect([counts.entries, counts.bytes]).toEqual([7, 92]);
  expect(counts.destinations().sort()).toEqual(["a", "b", "c"]);
});

test("a copy changes by itself, until it is taken over", () => {
  const counts = new QueueCounts([{ destination: "a", pending: 2, dead: 0, bytes: 30 }]);
  const forked = counts.fork();
  forked.add("a", { pending: 1, bytes: 10 });
  forked.add("b", { dead: 1, bytes: 1 });
  expect([counts.of("a").pending, counts.entries, counts.bytes]).toEqual([2, 2, 30]);
  counts.adopt(forked);
  expect([counts.of("a").pending, counts.of("b").dead, counts.entries, counts.bytes]).toEqual([3, 1, 4, 41]);
});
