import { describe, expect, test } from "bun:test";
import { Worker } from "node:worker_threads";
import { HybridClock, VERSION_EPOCH_MS, VERSIONS_PER_MS, versionAt } from "../../src/model/hybrid-clock.ts";
import type { Version } from "../../src/model/stamp.ts";
import { ManualClock } from "../support/engine-io.ts";

describe("the hybrid clock", () => {
  test("stamps with ms since 2024 times 4096, and counts within a millisecond", () => {
    const wall = new ManualClock();
    wall.nowMs = VERSION_EPOCH_MS + 5;
    const clock = HybridClock.create(wall.read);
    expect([clock.next(), clock.next(), clock.next()].map(Number)).toEqual([20_480, 20_481, 20_482]);
    wall.nowMs += 1;
    expect(Number(clock.next())).toBe(24_576);
  });

  test("goes on when the wall clock jumps back", () => {
    const wall = new ManualClock();
    const clock = HybridClock.create(wall.read);
    const before = clock.next();
    wall.nowMs -= 3_600_000;
    expect(clock.next()).toBe((before + 1) as Version);
  });

  test("runs on into the next millisecond when one is full", () => {
    const wall = new ManualClock();
    const clock = HybridClock.create(wall.read);
    const first = clock.next();
    for (let count = 0; count < VERSIONS_PER_MS; count++) clock.next();
    expect(clock.next()).toBe((first + VERSIONS_PER_MS + 1) as Version);
  });

  test("passes every stamp that it sees, and ignores older ones", () => {
    const wall = new ManualClock();
    const clock = HybridClock.create(wall.read);
    const ahead = versionAt(wall.nowMs + 20_000);
    clock.observe(ahead);
    expect(clock.next()).toBe((ahead + 1) as Version);
    clock.observe(versionAt(wall.nowMs));
    expect(clock.next()).toBe((ahead + 2) as Version);
  });

  test("stays within the safe integers until 2093", () => {
    expect(Number.isSafeInteger(versionAt(Date.UTC(2093, 0, 1)))).toBe(true);
  });

  test("gives threads stamps of their own, each thread growing ones", async () => {
    const clock = HybridClock.create(Date.now);
    const workerData = { buffer: clock.buffer, count: 50_000 };
    const lists = await Promise.all(
      [1, 2].map(
        () =>
          new Promise<Float64Array>((resolve, reject) => {
            const worker = new Worker(new URL("./clock-worker.ts", import.meta.url), { workerData });
            worker.once("message", resolve);
            worker.once("error", reject);
          }),
      ),
    );
    for (const list of lists) expect(list).toEqual(list.toSorted());
    expect(new Set(lists.flatMap((list) => [...list])).size).toBe(100_000);
  });
});
