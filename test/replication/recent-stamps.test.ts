import { expect, test } from "bun:test";
import { RecentStamps } from "../../src/replication/recent-stamps.ts";
import { stampOf } from "../support/engine-io.ts";

const GENERATION_KEYS = 16_384;

test("a key is known with its newest stamp, in whatever order they came", () => {
  const stamps = new RecentStamps();
  stamps.note("k", stampOf(5, 2));
  stamps.note("k", stampOf(4, 9));
  expect(stamps.hasNewer("k", stampOf(5, 1))).toBe(true);
  expect(stamps.hasNewer("k", stampOf(5, 2))).toBe(false);
  expect(stamps.hasNewer("k", stampOf(6, 0))).toBe(false);
  expect(stamps.hasNewer("other", stampOf(1))).toBe(false);
});

test("the keys that were noted last are known, as many as a generation holds, and older ones are forgotten", () => {
  const stamps = new RecentStamps();
  stamps.note("first", stampOf(5));
  for (let number = 0; number < 2 * GENERATION_KEYS; number++) {
    stamps.note(`k${number}`, stampOf(5));
    const oldest = number - GENERATION_KEYS + 1;
    if (oldest >= 0 && number % 97 === 0) expect(stamps.hasNewer(`k${oldest}`, stampOf(4))).toBe(true);
  }
  expect(stamps.hasNewer("first", stampOf(4))).toBe(false);
});

test("what a younger generation knows of a key does not hide what the older one knows", () => {
  const stamps = new RecentStamps();
  stamps.note("k", stampOf(9));
  for (let number = 1; number < GENERATION_KEYS; number++) stamps.note(`k${number}`, stampOf(1));
  stamps.note("k", stampOf(3));
  expect(stamps.hasNewer("k", stampOf(8))).toBe(true);
});
