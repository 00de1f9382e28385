import { describe, expect, test } from "bun:test";
import { WriteBehind, type WriteBehindOptions } from "../../src/backend/write-behind.ts";
import { FakeBackend } from "../support/fake-backend.ts";
import { settled } from "../support/manual-scheduler.ts";
import { tempFolder } from "../support/temp-folder.ts";
import { openTestOutbox, put, remove } from "../support/test-outbox.ts";

function setUp(options: Partial<WriteBehindOptions> = {}) {
  const folder = tempFolder();
  const opened = openTestOutbox(folder.path);
  const { outbox, scheduler } = opened;
  const backend = new FakeBackend();
  const writer = new WriteBehind({
    outbox,
    backend,
    destination: "backend",
    delayMs: 100,
    batchRows: 500,
    batchBytes: 8_000_000,
    concurrency: 2,
    attempts: 3,
    timeoutMs: 10_000,
    backoffFirstMs: 100,
    backoffMaxMs: 30_000,
    scheduler,
    random: () => 1,
    ...options,
  });
  writer.start();
  const stats = () => outbox.stats("backend");
  const close = () => {
    opened[Symbol.dispose]();
    folder[Symbol.dispose]();
  };
  return { outbox, scheduler, backend, writer, stats, [Symbol.dispose]: close };
}

describe("what waits in the outbox", () => {
  test("is written in one batch after the delay", async () => {
    using t = setUp();
    await t.outbox.append([put("a", "1", 1)]);
    await t.outbox.append([put("b", "2", 2)]);
    await t.scheduler.advance(99);
    expect(t.backend.writes).toEqual([]);
    await t.scheduler.advance(2);
    await t.scheduler.advance(100);
    expect(t.backend.writes).toEqual([["a", "b"]]);
    expect(t.stats()).toMatchObject({ pending: 0, inFlight: 0 });
    expect(t.writer.stats()).toMatchObject({ written: 2, state: "running", lastError: "" });
  });

  test("reaches the backend once per key within the delay, with the newest value", async () => {
    using t = setUp();
    for (let i = 1; i <= 50; i++) await t.outbox.append([put("a", String(i), i)]);
    await t.scheduler.advance(300);
    expect(t.backend.writes).toEqual([["a"]]);
    expect(t.backend.values.get("a")).toBe("50");
  });

  test("a newer value of a key waits until the older one is settled", async () => {
    using t = setUp();
    const release = t.backend.hold();
    await t.outbox.append([put("a", "1", 1)]);
    await t.scheduler.advance(200);
    await t.outbox.append([remove("a", 2)]);
    await t.scheduler.advance(1_000);
    expect(t.backend.writes).toEqual([["a"]]);
    release();
    await t.scheduler.advance(300);
    expect(t.backend.writes).toEqual([["a"], ["a"]]);
    expect(t.backend.values.has("a")).toBe(false);
  });

  test("goes in batches of the bound, so many at a time", async () => {
    using t = setUp({ batchRows: 10 });
    const release = t.backend.hold();
    await t.outbox.append(Array.from({ length: 45 }, (_, i) => put(`k${i}`, "1", i + 1)));
    await t.scheduler.advance(200);
    expect(t.backend.concurrent).toBe(2);
    release();
    await t.scheduler.advance(1_000);
    expect(t.backend.writes.map((keys) => keys.length)).toEqual([10, 10, 10, 10, 5]);
    expect(t.backend.mostConcurrent).toBe(2);
    expect(t.stats().pending).toBe(0);
  });
});

describe("a backend that is away", () => {
  test("is tried again with growing pauses, for as long as it takes, and gets everything", async () => {
    using t = setUp();
    t.backend.isAway = true;
    await t.outbox.append(Array.from({ length: 20 }, (_, i) => put(`k${i}`, String(i), i + 1)));
    await t.scheduler.advance(3_600_000);
    const triesInAnHour = t.backend.writes.length;
    expect(triesInAnHour).toBeGreaterThan(100);
    expect(triesInAnHour).toBeLessThan(160);
    expect(t.writer.stats()).toMatchObject({ written: 0, deadLetters: 0, lastError: "away" });
    expect(t.stats()).toMatchObject({ pending: 20, dead: 0 });
    t.backend.isAway = false;
    await t.scheduler.advance(60_000);
    expect(t.backend.values.size).toBe(20);
    expect(t.stats().pending).toBe(0);
  });

  test.each([-3_600_000, 3_600_000])(
    "is tried again in time, also where the clock is set by %i ms meanwhile",
    async (ms) => {
      using t = setUp({ backoffFirstMs: 1_000 });
      t.backend.isAway = true;
      await t.outbox.append([put("a", "1", 1), put("b", "1", 2)]);
      await t.scheduler.advance(150);
      const tries = t.backend.writes.length;
      expect(tries).toBeGreaterThan(0);
      t.backend.isAway = false;
      t.scheduler.jump(ms);
      await t.outbox.append([put("c", "1", 3)]);
      await t.scheduler.advance(800);
      expect(t.backend.writes).toHaveLength(tries);
      await t.scheduler.advance(2_500);
      expect(t.backend.values.get("a")).toBe("1");
    },
  );

  test("is asked by one batch at a time until it is back", async () => {
    using t = setUp({ batchRows: 2 });
    t.backend.isAway = true;
    await t.outbox.append(Array.from({ length: 20 }, (_, i) => put(`k${i}`, "1", i + 1)));
    await t.scheduler.advance(1_000);
    t.backend.mostConcurrent = 0;
    await t.scheduler.advance(60_000);
    expect(t.backend.mostConcurrent).toBe(1);
  });

  test("a row that makes every batch fail that it is in holds up none of the others", async () => {
    using t = setUp();
    t.backend.poison.add("k7");
    await t.outbox.append(Array.from({ length: 50 }, (_, i) => put(`k${i}`, "1", i + 1)));
    await t.scheduler.advance(300_000);
    expect(t.backend.values.size).toBe(49);
    expect(t.stats()).toMatchObject({ pending: 1, dead: 0 });
    t.backend.poison.clear();
    await t.scheduler.advance(60_000);
    expect(t.backend.values.size).toBe(50);
  });
});

describe("a row that is refused for good", () => {
  test("goes to the dead letters after its attempts, and holds up none of the others", async () => {
    using t = setUp();
    t.backend.refused.add("b");
    await t.outbox.append([put("a", "1", 1), put("b", "1", 2), put("c", "1", 3)]);
    await t.scheduler.advance(200);
    expect([...t.backend.values.keys()]).toEqual(["a", "c"]);
    await t.scheduler.advance(10_000);
    expect(t.backend.writes.flat().filter((key) => key === "b").length).toBe(3);
    expect(t.stats()).toMatchObject({ pending: 0, dead: 1 });
    expect(t.outbox.dead.list("backend", 0, 10)[0]).toMatchObject({
      key: "b",
      attempts: 3,
      reason: "no such customer",
    });
    expect(t.writer.stats()).toMatchObject({ refusals: 3, deadLetters: 1, failures: 0 });
  });

  test("shares no statement with others when it is tried again", async () => {
    using t = setUp();
    t.backend.refused.add("b");
    await t.outbox.append([put("a", "1", 1), put("b", "1", 2), put("c", "1", 3)]);
    await t.scheduler.advance(200);
    await t.outbox.append([put("d", "1", 4)]);
    await t.scheduler.advance(10_000);
    expect(t.backend.eachAlone).toEqual(["b", "b"]);
    expect(t.backend.values.get("d")).toBe("1");
  });

  test("goes there, too, when it ends its connection and others don't; who waits for it is told of no refusal", async () => {
    using t = setUp();
    t.backend.failingAlone.add("b");
    const written = t.writer.writeThrough(put("b", "1", 2)).catch((cause: unknown) => cause);
    await t.outbox.append([put("a", "1", 1)]);
    await t.scheduler.advance(20_000);
    expect(await written).toMatchObject({ code: "ERR_BACKEND_TIMEOUT" });
    expect(t.stats()).toMatchObject({ pending: 0, dead: 1 });
    expect(t.writer.stats()).toMatchObject({ failures: 0, deadLetters: 1, state: "running" });
  });

  test("is written when an operator retries it and the backend takes it", async () => {
    using t = setUp({ attempts: 1 });
    t.backend.refused.add("b");
    await t.outbox.append([put("b", "1", 2)]);
    await t.scheduler.advance(300);
    t.backend.refused.clear();
    t.outbox.dead.retry(
      "backend",
      t.outbox.dead.list("backend", 0, 10).map((letter) => letter.id),
    );
    await t.scheduler.advance(300);
    expect(t.backend.values.get("b")).toBe("1");
    expect(t.stats()).toMatchObject({ pending: 0, dead: 0 });
  });
});

test("a row that has to wait for an earlier write of its key pauses nobody else", async () => {
  using t = setUp();
  t.backend.held.add("b");
  await t.outbox.append([put("a", "1", 1), put("b", "1", 2)]);
  await t.scheduler.advance(200);
  expect([...t.backend.values.keys()]).toEqual(["a"]);
  expect(t.writer.stats()).toMatchObject({ failures: 0, state: "running" });
  t.backend.held.clear();
  await t.scheduler.advance(1_100);
  expect(t.backend.values.get("b")).toBe("1");
});

describe("the end", () => {
  test("a drain writes at once what still waits for its delay", async () => {
    using t = setUp({ delayMs: 60_000 });
    await t.outbox.append([put("a", "1", 1)]);
    const drained = t.writer.drain(10_000);
    await settled();
    expect(await drained).toBe(0);
    expect(t.backend.values.get("a")).toBe("1");
    await t.writer.stop();
  });

  test("a drain does not wait for a row whose next attempt comes after its end", async () => {
    using t = setUp();
    t.backend.refused.add("a");
    await t.outbox.append([put("a", "1", 1), put("b", "1", 2)]);
    const drained = t.writer.drain(50);
    await settled();
    expect(await drained).toBe(1);
    expect(t.backend.values.get("b")).toBe("1");
    t.backend.refused.clear();
    await t.scheduler.advance(60_000);
    expect([t.backend.values.get("a"), t.stats().pending]).toEqual(["1", 0]);
    await t.writer.stop();
  });

  test("a drain that can't end is over at its time, and says how much is left", async () => {
    using t = setUp();
    t.backend.isAway = true;
    await t.outbox.append([put("a", "1", 1), put("b", "1", 2)]);
    const drained = t.writer.drain(10_000);
    await t.scheduler.advance(10_000);
    expect(await drained).toBe(2);
    await t.writer.stop();
    expect(t.stats().pending).toBe(2);
    expect(t.writer.stats().state).toBe("stopped");
  });
});

describe("write through", () => {
  test("answers when the backend has it, without the delay", async () => {
    using t = setUp({ delayMs: 60_000 });
    await t.writer.writeThrough(put("a", "1", 1));
    expect(t.backend.values.get("a")).toBe("1");
    await settled();
    expect(t.stats().pending).toBe(0);
  });

  test("says that the backend refuses it, and keeps nothing", async () => {
    using t = setUp();
    t.backend.refused.add("a");
    const error = await t.writer.writeThrough(put("a", "1", 1)).catch((cause: unknown) => cause);
    expect(error).toMatchObject({ code: "ERR_BACKEND_REFUSED" });
    await settled();
    expect(t.stats()).toMatchObject({ pending: 0, dead: 0 });
  });

  test("gives up waiting in time, and writes it later", async () => {
    using t = setUp();
    t.backend.isAway = true;
    const written = t.writer.writeThrough(put("a", "1", 1)).catch((cause: unknown) => cause);
    await t.scheduler.advance(10_000);
    expect(await written).toMatchObject({ code: "ERR_BACKEND_TIMEOUT" });
    t.backend.isAway = false;
    await t.scheduler.advance(60_000);
    expect(t.backend.values.get("a")).toBe("1");
  });

  test("of two writes of a key at once, the older is done when the newer is", async () => {
    using t = setUp();
    await Promise.all([t.writer.writeThrough(put("a", "1", 1)), t.writer.writeThrough(put("a", "2", 2))]);
    expect(t.backend.values.get("a")).toBe("2");
  });
});
