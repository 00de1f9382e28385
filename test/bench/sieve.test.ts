import { expect, test } from "bun:test";
import { sieve } from "../../bench/simulators/sieve.ts";
import { outcomes } from "./policies.ts";

test("SIEVE spares what was visited and evicts the oldest that was not", () => {
  // d evicts b, since a was visited; then a and c are still there.
  expect(outcomes(sieve, 3, "abcadacb")).toBe("...H.HH.");
});

test("SIEVE's hand goes on from where it stopped, not from the oldest", () => {
  // d evicts b (a is visited and loses its mark); the hand stands at c, so e evicts c although a is older.
  expect(outcomes(sieve, 3, "abcadeac")).toBe("...H..H.");
});
