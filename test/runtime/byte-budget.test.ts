import { describe, expect, test } from "bun:test";
import { ByteBudget, InFlight } from "../../src/runtime/byte-budget.ts";

const KIB = 1024;
const LIMIT = 1024 * KIB;

describe("a budget of bytes in flight", () => {
  test("gives out no more than its limit, over all threads that attach to it", () => {
    const budget = ByteBudget.create(LIMIT);
    const other = ByteBudget.attach(budget.handle);
    for (let taken = 0; taken < LIMIT; taken += 64 * KIB) {
      expect((taken % (128 * KIB) === 0 ? budget : other).take(InFlight.Bodies, 64 * KIB)).toBe(true);
    }
    expect(other.take(InFlight.Answers, 1)).toBe(false);
    expect([budget.usedBytes, budget.refusals]).toEqual([LIMIT, 1]);
    other.giveBack(InFlight.Bodies, 1);
    expect(budget.take(InFlight.Answers, 1)).toBe(true);
  });

  test("keeps an eighth for those who take little", () => {
    const budget = ByteBudget.create(LIMIT);
    expect(budget.take(InFlight.Bodies, (LIMIT / 8) * 7 + 1)).toBe(false);
    expect(budget.take(InFlight.Bodies, (LIMIT / 8) * 7)).toBe(true);
    expect(budget.take(InFlight.Bodies, 65 * KIB)).toBe(false);
    expect(budget.take(InFlight.Bodies, 64 * KIB)).toBe(true);
  });

  test("tells by use what is held, and counts what can't be refused", () => {
    const budget = ByteBudget.create(LIMIT);
    budget.take(InFlight.Answers, 5);
    budget.count(InFlight.Upstream, 2 * LIMIT);
    expect(budget.byUse()).toEqual([
      ["bodies", 0],
      ["answers", 5],
      ["upstream", 2 * LIMIT],
    ]);
    expect(budget.take(InFlight.Bodies, 1)).toBe(false);
  });

  test("is tight from three quarters on", () => {
    const budget = ByteBudget.create(LIMIT);
    budget.take(InFlight.Bodies, LIMIT * 0.75 - 1);
    expect(budget.isTight).toBe(false);
    budget.take(InFlight.Bodies, 1);
    expect(budget.isTight).toBe(true);
  });
});
