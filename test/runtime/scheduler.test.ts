import { afterEach, describe, expect, setSystemTime, test } from "bun:test";
import { systemScheduler } from "../../src/runtime/scheduler.ts";

afterEach(() => void setSystemTime());

describe("the scheduler of the machine", () => {
  test.each([-3_600_000, 3_600_000])(
    "has a clock that does not follow the wall clock when that is set by %i ms",
    (ms) => {
      const wallMs = systemScheduler.nowMs();
      const beforeMs = systemScheduler.monotonicMs();
      setSystemTime(new Date(wallMs + ms));
      expect(Math.abs(systemScheduler.nowMs() - wallMs - ms)).toBeLessThan(1_800_000);
      const passedMs = systemScheduler.monotonicMs() - beforeMs;
      expect(passedMs).toBeGreaterThanOrEqual(0);
      expect(passedMs).toBeLessThan(1_800_000);
    },
  );
});
