import { describe, expect, test } from "bun:test";
import { RecentInvalidations } from "../../src/cache/recent-invalidations.ts";
import type { Key } from "../../src/model/key.ts";
import type { Stamp, Version } from "../../src/model/stamp.ts";

const keyOf = (text: string): Key => {
  const bytes = Buffer.from(text);
  return { bytes, length: bytes.length };
};
const at = (version: number, nodeId = 0): Stamp => ({ version: version as Version, nodeId });

describe("recent invalidations", () => {
  test("cover older mutations of keys that match, and nothing else", () => {
    const all = RecentInvalidations.create();
    all.add("user:*", at(10));
    expect(all.covering(keyOf("user:1"), at(9))).toEqual(at(10));
    expect(all.covering(keyOf("user:1"), at(10))).toBeNull();
    expect(all.covering(keyOf("user:1"), at(11))).toBeNull();
    expect(all.covering(keyOf("order:1"), at(9))).toBeNull();
  });

  test("a clear covers every key, and the node id decides between equal versions", () => {
    const all = RecentInvalidations.create();
    all.add(null, at(10, 2));
    expect(all.covering(keyOf("x"), at(10, 1))).toEqual(at(10, 2));
    expect(all.covering(keyOf("x"), at(10, 3))).toBeNull();
  });

  test("of several, the newest is given", () => {
    const all = RecentInvalidations.create();
    all.add("a*", at(30));
    all.add("*", at(20));
    all.add("ab", at(40));
    expect(all.covering(keyOf("ab"), at(5))).toEqual(at(40));
    expect(all.covering(keyOf("ac"), at(5))).toEqual(at(30));
    expect(all.covering(keyOf("b"), at(5))).toEqual(at(20));
  });

  test("what one thread adds, another one sees at its next question", () => {
    const here = RecentInvalidations.create();
    const there = RecentInvalidations.attach(here.buffer);
    expect(there.covering(keyOf("k"), at(1))).toBeNull();
    here.add("k", at(5));
    expect(there.covering(keyOf("k"), at(1))).toEqual(at(5));
    here.add("j", at(6));
    expect(there.covering(keyOf("j"), at(1))).toEqual(at(6));
    expect(there.covering(keyOf("k"), at(1))).toEqual(at(5));
  });

  test("those that had to make way cover every key that is older", () => {
    const here = RecentInvalidations.create();
    const late = RecentInvalidations.attach(here.buffer);
    late.covering(keyOf("none"), at(1));
    for (let number = 1; number <= 1200; number++) here.add(`key${number}`, at(100 + number));
    for (const recent of [here, late]) {
      expect(recent.covering(keyOf("other"), at(100))).toEqual(at(100 + 1200 - 512));
      expect(recent.covering(keyOf("other"), at(1000))).toBeNull();
      expect(recent.covering(keyOf("key1200"), at(1000))).toEqual(at(1300));
      expect(recent.covering(keyOf("key900"), at(950))).toEqual(at(1000));
    }
  });

  test("patterns of the greatest length are kept whole", () => {
    const all = RecentInvalidations.create();
    const long = "é".repeat(511);
    all.add(`${long}*`, at(10));
    all.add("b*", at(11));
    expect(all.covering(keyOf(`${long}x`), at(5))).toEqual(at(10));
    expect(all.covering(keyOf("c"), at(5))).toBeNull();
  });
});
