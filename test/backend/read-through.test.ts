import { describe, expect, test } from "bun:test";
import type { LoadResult } from "../../src/backend/backend.ts";
import { ReadThrough, type ReadThroughOptions } from "../../src/backend/read-through.ts";
import { textOf, version } from "../contract/backend-contract.ts";
import { FakeBackend } from "../support/fake-backend.ts";
import { ManualScheduler, settled } from "../support/manual-scheduler.ts";

function setUp(options: Partial<ReadThroughOptions> = {}) {
  const backend = new FakeBackend();
  const scheduler = new ManualScheduler();
  const fills: string[] = [];
  let lastVersion = 0;
  const reader = new ReadThrough({
    backend,
    timeoutMs: 1_000,
    concurrentCalls: 2,
    waitingKeys: 1_000,
    fillTtlMs: 60_000,
    negativeTtlMs: 5_000,
    negativeKeys: 100,
    breaker: { failures: 3, openMs: 1_000, openMaxMs: 8_000 },
    nextVersion: () => version(++lastVersion),
    sink: {
      fill(key, value, expiresAtMs, at) {
        fills.push(`${key}=${value.bytes}@${at} for ${expiresAtMs === 0 ? "ever" : expiresAtMs - scheduler.nowMs()}`);
      },
      absent(key, at) {
        fills.push(`${key} absent@${at}`);
      },
    },
    room: null,
    look: () => null,
    scheduler,
    defer: (run) => setImmediate(run),
    random: () => 0.5,
    ...options,
  });
  return { backend, scheduler, fills, reader };
}

const shown = (result: LoadResult) => (result.kind === "failed" ? result.error.code : textOf(result));

describe("one load", () => {
  test("10,000 requests for one key are one query", async () => {
    const { backend, reader } = setUp();
    backend.values.set("a", "1");
    const results = await Promise.all(Array.from({ length: 10_000 }, () => reader.load("a")));
    expect(results.every((result) => textOf(result) === "1")).toBe(true);
    expect(backend.loads).toEqual([["a"]]);
    expect(reader.stats()).toMatchObject({ loads: 1, joined: 9_999, calls: 1 });
  });

  test("keys that are asked for within one turn go together, in batches of what the backend takes", async () => {
    const { backend, reader } = setUp();
    backend.loadBatchKeys = 2;
    backend.values.set("c", "3");
    const results = await Promise.all(["a", "b", "c"].map((key) => reader.load(key)));
    expect(results.map(shown)).toEqual(["absent", "absent", "3"]);
    expect(backend.loads).toEqual([["a", "b"], ["c"]]);
  });

  test("what the cache has by now is the answer: another thread's question comes late", async () => {
    const kept = { value: { bytes: Buffer.from("kept"), contentType: "application/json" }, expiresAtMs: 5 };
    for (const later of [false, true]) {
      const found = { ...kept, version: version(7) };
      const { backend, fills, reader } = setUp({ look: () => (later ? Promise.resolve(found) : found) });
      expect(await reader.load("a")).toEqual({ kind: "found", ...found, isStored: true, isCollapsed: true });
      expect([backend.loads, fills, reader.stats().loads]).toEqual([[], [], 0]);
      reader.refresh("a");
      await settled();
      expect(backend.loads).toEqual([["a"]]);
    }
  });

  test("whoever asks before the cache has the value joins the load, and is answered when it has", async () => {
    const filled = Promise.withResolvers<void>();
    const sink = { fill: () => filled.promise, absent: () => {} };
    const { backend, reader } = setUp({ sink, look: () => Promise.resolve(null) });
    backend.values.set("a", "1");
    const answers: string[] = [];
    const ask = async (name: string) => answers.push(`${name} ${shown(await reader.load("a"))}`);
    const early = ask("early");
    await settled();
    const late = ask("late");
    await settled();
    expect([answers, backend.loads]).toEqual([[], [["a"]]]);
    filled.resolve();
    await Promise.all([early, late]);
    expect([answers, backend.loads]).toEqual([["early 1", "late 1"], [["a"]]]);
  });

  test("a look that takes longer than a load may take ends with it", async () => {
    const { backend, scheduler, reader } = setUp({ look: () => new Promise(() => {}) });
    const load = reader.load("a");
    await scheduler.advance(1_000);
    expect(shown(await load)).toBe("ERR_BACKEND_TIMEOUT");
    expect(backend.loads).toEqual([]);
  });

  test.each([-3_600_000, 3_600_000])(
    "ends in time, no later and no earlier, where the clock is set by %i ms",
    async (ms) => {
      const { scheduler, reader } = setUp({ look: () => new Promise(() => {}) });
      const answers: string[] = [];
      const ask = async (key: string) => answers.push(`${key} ${shown(await reader.load(key))}`);
      const first = ask("a");
      await scheduler.advance(500);
      scheduler.jump(ms);
      const second = ask("b");
      await scheduler.advance(499);
      expect(answers).toEqual([]);
      await scheduler.advance(1);
      expect(answers).toEqual(["a ERR_BACKEND_TIMEOUT"]);
      await scheduler.advance(500);
      await Promise.all([first, second]);
      expect(answers).toEqual(["a ERR_BACKEND_TIMEOUT", "b ERR_BACKEND_TIMEOUT"]);
    },
  );

  test.each([-3_600_000, 3_600_000])(
    "of a key that is absent is not asked for again for as long, where the clock is set by %i ms",
    async (ms) => {
      const { backend, scheduler, reader } = setUp();
      await reader.load("a");
      scheduler.jump(ms);
      await scheduler.advance(4_999);
      await reader.load("a");
      expect(backend.loads).toHaveLength(1);
      await scheduler.advance(1);
      await reader.load("a");
      expect(backend.loads).toHaveLength(2);
    },
  );

  test("a value is cached with the version of the load's beginning, before it is answered", async () => {
    const { backend, fills, reader } = setUp();
    backend.values.set("a", "1");
    await reader.load("a");
    expect(fills).toEqual(["a=1@1 for 60000"]);
  });

  test("expiries are spread by 10 % to either side", async () => {
    for (const [random, ttlMs] of [
      [0, 54_000],
      [0.999_999_9, 66_000],
    ] as const) {
      const { backend, fills, reader } = setUp({ random: () => random });
      backend.values.set("a", "1");
      await reader.load("a");
      expect(fills).toEqual([`a=1@1 for ${ttlMs}`]);
    }
  });

  test("a fill TTL of 0 never expires", async () => {
    const { backend, fills, reader } = setUp({ fillTtlMs: 0 });
    backend.values.set("a", "1");
    await reader.load("a");
    expect(fills).toEqual(["a=1@1 for ever"]);
  });
});

describe("a load that was overtaken", () => {
  test("by a change of its key answers those who wait, and is not cached", async () => {
    const { backend, fills, reader } = setUp();
    backend.values.set("a", "old");
    const release = backend.hold();
    const early = reader.load("a");
    await settled();
    reader.changed("a");
    release();
    expect(shown(await early)).toBe("old");
    expect(fills).toEqual([]);
    expect(reader.stats().discarded).toBe(1);
  });

  test("is not given to those who ask after the change", async () => {
    const { backend, fills, reader } = setUp();
    backend.values.set("a", "old");
    const release = backend.hold();
    const early = reader.load("a");
    await settled();
    reader.changed("a");
    const late = reader.load("a");
    await settled();
    expect(backend.loads.length).toBe(2);
    release();
    await Promise.all([early, late]);
    expect(fills).toEqual(["a=old@2 for 60000"]);
  });

  test("before it was sent, asks for its key only once beside its successor", async () => {
    const { backend, fills, reader } = setUp();
    const early = reader.load("a");
    reader.changed("a");
    const late = reader.load("a");
    expect((await Promise.all([early, late])).map(shown)).toEqual(["absent", "absent"]);
    expect(backend.loads).toEqual([["a"]]);
    expect(fills).toEqual(["a absent@2"]);
  });

  test("by a clear or a pattern is not cached either", async () => {
    const { backend, fills, reader } = setUp();
    for (const key of ["user:1", "item:1"]) backend.values.set(key, "1");
    const release = backend.hold();
    const loads = [reader.load("user:1"), reader.load("item:1")];
    await settled();
    reader.changedMatching((key) => key.startsWith("user:"));
    release();
    await Promise.all(loads);
    expect(fills).toEqual(["item:1=1@2 for 60000"]);
  });
});

describe("absence", () => {
  test("is remembered for its time, and told to the cache once", async () => {
    const { backend, fills, reader, scheduler } = setUp();
    expect(shown(await reader.load("a"))).toBe("absent");
    expect(shown(await reader.load("a"))).toBe("absent");
    expect(backend.loads.length).toBe(1);
    expect(fills).toEqual(["a absent@1"]);
    await scheduler.advance(5_000);
    await reader.load("a");
    expect(backend.loads.length).toBe(2);
  });

  test("is forgotten at once when the key is written", async () => {
    const { backend, reader } = setUp();
    await reader.load("a");
    backend.values.set("a", "1");
    reader.changed("a");
    expect(shown(await reader.load("a"))).toBe("1");
  });

  test("is remembered of a bounded number of keys, the latest", async () => {
    const { backend, reader } = setUp({ negativeKeys: 2 });
    for (const key of ["a", "b", "c"]) await reader.load(key);
    await reader.load("c");
    await reader.load("b");
    expect(backend.loads.length).toBe(3);
    await reader.load("a");
    expect(backend.loads.length).toBe(4);
  });
});

describe("a backend in trouble", () => {
  test("a failure is told as one, and is neither cached nor remembered", async () => {
    const { backend, fills, reader } = setUp();
    backend.isAway = true;
    expect(shown(await reader.load("a"))).toBe("ERR_BACKEND_UNAVAILABLE");
    backend.isAway = false;
    backend.values.set("a", "1");
    expect(shown(await reader.load("a"))).toBe("1");
    expect(fills).toEqual(["a=1@1 for 60000".replace("@1", "@2")]);
  });

  test("calls at the same time are bounded, and keys that wait too long get a timeout", async () => {
    const { backend, reader, scheduler } = setUp();
    backend.loadBatchKeys = 1;
    const release = backend.hold();
    const loads = ["a", "b", "c", "d"].map((key) => reader.load(key));
    await settled();
    expect(backend.concurrent).toBe(2);
    await scheduler.advance(1_000);
    expect((await Promise.all(loads)).map(shown)).toEqual(new Array(4).fill("ERR_BACKEND_TIMEOUT"));
    release();
    await settled();
    expect(backend.loads.length).toBe(2);
  });

  test("a value that comes after its timeout is not cached", async () => {
    const { backend, fills, reader, scheduler } = setUp();
    backend.values.set("a", "1");
    const release = backend.hold();
    const load = reader.load("a");
    await scheduler.advance(1_000);
    release();
    expect(shown(await load)).toBe("ERR_BACKEND_TIMEOUT");
    await settled();
    expect(fills).toEqual([]);
  });

  test("keys beyond the waiting room are refused at once", async () => {
    const { backend, reader } = setUp({ waitingKeys: 2 });
    const release = backend.hold();
    const loads = ["a", "b", "c"].map((key) => reader.load(key));
    expect(shown((await loads[2]) ?? { kind: "absent" })).toBe("ERR_BACKEND_BUSY");
    release();
    await Promise.all(loads);
  });

  test("after failures in a row nobody asks, until one call shows that it is back", async () => {
    const { backend, reader, scheduler } = setUp();
    backend.isAway = true;
    for (const key of ["a", "b", "c"]) await reader.load(key);
    expect(shown(await reader.load("d"))).toBe("ERR_BACKEND_BREAKER_OPEN");
    expect(backend.loads.length).toBe(3);
    await scheduler.advance(1_000);
    expect(shown(await reader.load("d"))).toBe("ERR_BACKEND_UNAVAILABLE");
    await scheduler.advance(1_999);
    expect(shown(await reader.load("d"))).toBe("ERR_BACKEND_BREAKER_OPEN");
    await scheduler.advance(1);
    backend.isAway = false;
    backend.values.set("d", "1");
    expect(shown(await reader.load("d"))).toBe("1");
    expect(reader.stats().breaker).toBe("closed");
  });

  test("while one call looks whether it is back, the others are not held up by it", async () => {
    const { backend, reader, scheduler } = setUp();
    backend.isAway = true;
    for (const key of ["a", "b", "c"]) await reader.load(key);
    await scheduler.advance(1_000);
    const release = backend.hold();
    const probe = reader.load("d");
    await settled();
    expect(shown(await reader.load("e"))).toBe("ERR_BACKEND_BREAKER_OPEN");
    release();
    expect(shown(await probe)).toBe("ERR_BACKEND_UNAVAILABLE");
  });
});

describe("refresh ahead", () => {
  test("reloads once, and not while the breaker is open", async () => {
    const { backend, fills, reader } = setUp();
    backend.values.set("a", "1");
    reader.refresh("a");
    reader.refresh("a");
    await settled();
    expect(backend.loads).toEqual([["a"]]);
    expect(fills).toEqual(["a=1@1 for 60000"]);
    backend.isAway = true;
    for (const key of ["x", "y", "z"]) await reader.load(key);
    reader.refresh("a");
    await settled();
    expect(backend.loads.length).toBe(4);
  });
});
