import { beforeEach, expect, test } from "bun:test";
import { DEFAULT_HTTP_LIMITS } from "../../../src/http/transport/limits.ts";
import { Pace } from "../../../src/http/transport/pace.ts";
import { ByteBudget, InFlight } from "../../../src/runtime/byte-budget.ts";

const WINDOW_MS = 1000;
const SWEEP_MS = 100;
const BUDGET_BYTES = 1000;
const LIMITS = { ...DEFAULT_HTTP_LIMITS, minBytesPerSecond: 100, tightTimeoutMs: 200, tightBytesPerSecond: 1000 };

let context: { limits: typeof LIMITS; budget: ByteBudget; monotonicMs: number; sweepIntervalMs: number };
let pace: Pace;
beforeEach(() => {
  context = { limits: LIMITS, budget: ByteBudget.create(BUDGET_BYTES), monotonicMs: 0, sweepIntervalMs: SWEEP_MS };
  pace = new Pace(context);
  pace.begin();
});

/** So much time passes, in which so many bytes move. */
function after(ms: number, bytes: number): boolean {
  context.monotonicMs += ms;
  pace.moved(bytes);
  return pace.isTooSlow(WINDOW_MS);
}

test("nobody is too slow before the window is over, and the sweep that may have been late", () => {
  expect([after(1099, 0), after(1, 0)]).toEqual([false, true]);
});

test("the bytes of a window decide, and each window begins anew", () => {
  expect(after(1100, 110)).toBe(false);
  expect(after(1100, 109)).toBe(true);
  pace.begin();
  expect([after(1100, 100_000), after(1100, 0)]).toEqual([false, true]);
});

test("what moves within a window counts, whenever it does", () => {
  expect([after(550, 60), after(550, 60)]).toEqual([false, false]);
});

test("where little is left of the budget, more is asked for, and sooner", () => {
  expect(after(299, 0)).toBe(false);
  expect(after(1, 299)).toBe(false);
  context.budget.take(InFlight.Bodies, BUDGET_BYTES);
  expect(context.budget.isTight).toBe(true);
  pace.begin();
  expect([after(299, 0), after(1, 299)]).toEqual([false, true]);
  pace.begin();
  expect(after(300, 300)).toBe(false);
});
