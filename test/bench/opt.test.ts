import { expect, test } from "bun:test";
import { lru } from "../../bench/simulators/lru.ts";
import { opt } from "../../bench/simulators/opt.ts";
import { hitRatio } from "../../bench/simulators/policy.ts";
import { letters, outcomes } from "./policies.ts";

test("OPT evicts what is needed last", () => {
  // c is needed again after a and b: it is not kept.
  expect(outcomes(opt, 2, "abcabc")).toBe("...HH.");
});

test("OPT evicts what is never needed again first", () => {
  expect(outcomes(opt, 2, "abcaca")).toBe("...HHH");
});

test("OPT hits where LRU thrashes on a loop", () => {
  const loop = letters("abcabcabcabc");
  expect(hitRatio(lru, 2, loop)).toBe(0);
  // It keeps a and b, and never lets c in: 6 hits of 12.
  expect(hitRatio(opt, 2, loop)).toBe(0.5);
});
