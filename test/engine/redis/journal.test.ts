import { expect, test } from "bun:test";
import { JSON_CONTENT_TYPE, NEVER, type Version } from "../../../src/engine/engine.ts";
import { Journal, type JournaledMutation } from "../../../src/engine/redis/journal.ts";
import { keyOf } from "../../support/collecting-sink.ts";
import { globPattern } from "../../support/glob-pattern.ts";

const stamp = { version: 1 as Version, origin: 0 };
const put = (key: string, value: string): JournaledMutation => {
  const source = Buffer.from(value);
  const range = { source, start: 0, end: source.length };
  const request = {
    key: keyOf(key),
    ...range,
    contentType: JSON_CONTENT_TYPE,
    expiresAtMs: NEVER,
    stamp,
    condition: null,
  };
  return { kind: "put", request };
};
const increment = (key: string): JournaledMutation => ({
  kind: "increment",
  request: { key: keyOf(key), delta: 1, expiresAtMsIfNew: NEVER, stamp, condition: null },
});
const pattern: JournaledMutation = { kind: "delete-matching", pattern: globPattern("a*"), stamp };

function drain(journal: Journal): string[] {
  const batches: string[] = [];
  while (!journal.isEmpty) {
    const { mutations, places } = journal.nextBatch(10);
    batches.push(
      mutations
        .map((mutation) => (mutation.kind === "put" ? mutation.request.source.toString() : mutation.kind))
        .join(),
    );
    journal.drop(places);
  }
  return batches;
}

test("puts of different keys go together, everything else alone and in its place", () => {
  const journal = new Journal(1e6);
  for (const mutation of [put("a", "1"), put("b", "2"), pattern, put("c", "3"), increment("c"), put("d", "4")]) {
    journal.append(mutation);
  }
  expect(drain(journal)).toEqual(["1,2", "delete-matching", "3", "increment", "4"]);
});

test("a put forgets the one of the same key before it, also one that is being sent", () => {
  const journal = new Journal(1e6);
  for (let i = 0; i < 100; i++) journal.append(put("a", String(i)));
  const { mutations, places } = journal.nextBatch(10);
  expect(mutations.length).toBe(1);
  journal.append(put("a", "newer"));
  journal.drop(places);
  expect(drain(journal)).toEqual(["newer"]);
});

test("its bound counts what waits, and gives room back", () => {
  const journal = new Journal(3000);
  let count = 0;
  for (; journal.hasRoomFor(put(`k${count}`, "v")); count++) journal.append(put(`k${count}`, "v"));
  expect(count).toBeGreaterThan(5);
  drain(journal);
  for (let i = 0; i < count; i++) {
    expect(journal.hasRoomFor(put(`k${i}`, "v"))).toBe(true);
    journal.append(put(`k${i}`, "v"));
  }
  expect(journal.hasRoomFor(put("one more", "v"))).toBe(false);
});

test("it knows which keys have touches or increments waiting", () => {
  const journal = new Journal(1e6);
  journal.append(put("a", "1"));
  journal.append(increment("a"));
  expect([journal.adjustsLater(keyOf("a")), journal.adjustsLater(keyOf("b"))]).toEqual([true, false]);
  drain(journal);
  expect(journal.adjustsLater(keyOf("a"))).toBe(false);
});
