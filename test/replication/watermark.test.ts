import { beforeEach, expect, test } from "bun:test";
import { versionAt } from "../../src/model/hybrid-clock.ts";
import { destinationOf } from "../../src/replication/peer-rows.ts";
import { OwnWatermark } from "../../src/replication/watermark.ts";
import { ManualScheduler } from "../support/manual-scheduler.ts";
import { tempFolder } from "../support/temp-folder.ts";
import { openTestOutbox, put, takeAll } from "../support/test-outbox.ts";

const PEER = destinationOf("http://b:1");
const MARGIN_MS = 2000;
const FRESH_MS = 500;

let scheduler: ManualScheduler;
beforeEach(() => {
  scheduler = new ManualScheduler();
});

test("where nothing waits, all is acknowledged but what may be on its way into the outbox", async () => {
  using folder = tempFolder();
  using opened = openTestOutbox(folder.path, { scheduler });
  const watermark = new OwnWatermark(opened.outbox, PEER, scheduler);
  expect(watermark.read()).toBe(versionAt(scheduler.nowMs() - MARGIN_MS));
});

test("what waits holds it back, whatever comes later, until it is acknowledged", async () => {
  using folder = tempFolder();
  using opened = openTestOutbox(folder.path, { scheduler });
  const watermark = new OwnWatermark(opened.outbox, PEER, scheduler);
  const queuedAtMs = scheduler.nowMs();
  await opened.outbox.append([put("k", "1", 1, PEER)]);
  scheduler.jump(10_000);
  await opened.outbox.append([put("k", "2", 2, PEER)]);
  expect(watermark.read()).toBe(versionAt(queuedAtMs - MARGIN_MS));
  const [entry] = takeAll(opened.outbox, PEER);
  if (entry === undefined) throw new Error("one was taken");
  await opened.outbox.settle([{ kind: "done", entry }]);
  await scheduler.advance(FRESH_MS);
  expect(watermark.read()).toBe(versionAt(queuedAtMs + 10_000 + FRESH_MS - MARGIN_MS));
});

test("it is asked for twice a second at most, and never goes back with the clock", async () => {
  using folder = tempFolder();
  using opened = openTestOutbox(folder.path, { scheduler });
  const watermark = new OwnWatermark(opened.outbox, PEER, scheduler);
  const first = watermark.read();
  await scheduler.advance(FRESH_MS - 1);
  expect(watermark.read()).toBe(first);
  scheduler.jump(-60_000);
  expect(watermark.read()).toBe(first);
  scheduler.jump(61_000);
  await scheduler.advance(1);
  expect(watermark.read()).toBeGreaterThan(first);
});

test.each([-3_600_000, 3_600_000])(
  "the outbox is asked twice a second, also where the clock is set by %i ms",
  async (ms) => {
    using folder = tempFolder();
    using opened = openTestOutbox(folder.path);
    const { outbox, scheduler } = opened;
    let asked = 0;
    const stats = outbox.stats.bind(outbox);
    outbox.stats = (destination) => {
      asked += 1;
      return stats(destination);
    };
    const watermark = new OwnWatermark(outbox, "peer:a", scheduler);
    const first = watermark.read();
    scheduler.jump(ms);
    await scheduler.advance(499);
    expect([watermark.read(), asked]).toEqual([first, 1]);
    await scheduler.advance(1);
    expect(watermark.read()).toBeGreaterThanOrEqual(first);
    expect(asked).toBe(2);
  },
);
