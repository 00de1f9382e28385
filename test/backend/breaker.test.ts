import { describe, expect, test } from "bun:test";
import { Breaker } from "../../src/backend/breaker.ts";
import { ManualScheduler } from "../support/manual-scheduler.ts";

function openBreaker() {
  const scheduler = new ManualScheduler();
  const breaker = new Breaker({ failures: 2, openMs: 1_000, openMaxMs: 3_000, scheduler });
  for (let call = 0; call < 2; call++) if (breaker.admits()) breaker.failed();
  return { scheduler, breaker };
}

describe("the breaker of a backend", () => {
  test("opens after failures in a row, and lets one call through when its time is over", async () => {
    const { scheduler, breaker } = openBreaker();
    expect([breaker.state, breaker.admits(), breaker.retryAfterMs]).toEqual(["open", false, 1_000]);
    await scheduler.advance(1_000);
    expect([breaker.state, breaker.admits(), breaker.admits()]).toEqual(["half-open", true, false]);
    breaker.succeeded();
    expect([breaker.state, breaker.admits()]).toEqual(["closed", true]);
  });

  test("stays open twice as long after each call that fails again, up to a bound", async () => {
    const { scheduler, breaker } = openBreaker();
    for (const openMs of [1_000, 2_000, 3_000, 3_000]) {
      expect(breaker.retryAfterMs).toBe(openMs);
      await scheduler.advance(openMs);
      expect(breaker.admits()).toBe(true);
      breaker.failed();
    }
  });

  test.each([-3_600_000, 3_600_000])("is open for as long where the clock is set by %i ms", async (ms) => {
    const { scheduler, breaker } = openBreaker();
    scheduler.jump(ms);
    await scheduler.advance(999);
    expect([breaker.state, breaker.retryAfterMs]).toEqual(["open", 1]);
    await scheduler.advance(1);
    expect(breaker.admits()).toBe(true);
  });
});
