import { describe, expect, test } from "bun:test";
import { Breaker, makeOutages } from "../../../src/engine/redis/breaker.ts";
import { ManualScheduler } from "../../support/manual-scheduler.ts";

function setUp() {
  const scheduler = new ManualScheduler();
  const breaker = new Breaker(makeOutages(), {
    clock: () => scheduler.nowMs(),
    monotonicMs: () => scheduler.monotonicMs(),
    random: () => 0,
    probe: () => new Promise(() => {}),
    log: () => {},
  });
  /** A call that fails, and one that does not. */
  const stumble = () => {
    breaker.failed("a", "", new Error("no answer"));
    breaker.succeeded();
    breaker.cleared("a");
  };
  return { scheduler, breaker, stumble, [Symbol.dispose]: () => breaker.close() };
}

describe("the breaker of Redis", () => {
  test.each([0, -3_600_000, 3_600_000])(
    "opens after five failures in a second, also where the clock is set by %i ms",
    async (ms) => {
      using t = setUp();
      for (let call = 0; call < 5; call++) {
        expect(t.breaker.outageOf("a")).toBeNull();
        t.stumble();
        t.scheduler.jump(ms);
        await t.scheduler.advance(200);
      }
      expect(t.breaker.outageOf("a")?.reason).toBe("no answer");
    },
  );

  test.each([0, -800, 800])(
    "stays closed where they are spread over more, also where the clock is set by %i ms each time",
    async (ms) => {
      using t = setUp();
      for (let call = 0; call < 10; call++) {
        t.stumble();
        t.scheduler.jump(ms);
        await t.scheduler.advance(600);
      }
      expect(t.breaker.outageOf("a")).toBeNull();
    },
  );
});
