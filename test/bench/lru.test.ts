import { expect, test } from "bun:test";
import { lru } from "../../bench/simulators/lru.ts";
import { outcomes } from "./policies.ts";

test("LRU evicts what was used longest ago", () => {
  expect(outcomes(lru, 2, "abacab")).toBe("..H.H.");
});

test("LRU of one item hits only repetitions", () => {
  expect(outcomes(lru, 1, "aabba")).toBe(".H.H.");
});

test("LRU misses every time on a loop that is one longer than it", () => {
  expect(outcomes(lru, 2, "abcabcabc")).toBe(".........");
});
