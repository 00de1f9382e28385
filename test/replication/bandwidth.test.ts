import { expect, test } from "bun:test";
import { Bandwidth } from "../../src/replication/bandwidth.ts";
import { ManualScheduler } from "../support/manual-scheduler.ts";

test("a second's bytes may go at once, then as many as time has passed for", async () => {
  const scheduler = new ManualScheduler();
  const bandwidth = new Bandwidth(1000, scheduler);
  bandwidth.spend(2000);
  expect(bandwidth.waitMs).toBe(1001);
  await scheduler.advance(1001);
  expect(bandwidth.waitMs).toBe(0);
});

test.each([-3_600_000, 3_600_000])(
  "a wall clock that is set by %i ms neither holds bytes up nor lets more go",
  async (ms) => {
    const scheduler = new ManualScheduler();
    const bandwidth = new Bandwidth(1000, scheduler);
    bandwidth.spend(2000);
    await scheduler.advance(500);
    scheduler.jump(ms);
    expect(bandwidth.waitMs).toBe(501);
    await scheduler.advance(501);
    expect(bandwidth.waitMs).toBe(0);
  },
);
