import { beforeEach, describe, expect, test } from "bun:test";
import { Worker } from "node:worker_threads";
import { Cache, DEFAULT_TTL } from "../../src/cache/cache.ts";
import type { NewValue } from "../../src/cache/changes.ts";
import type { Engine } from "../../src/engine/engine.ts";
import { MemoryEngine } from "../../src/engine/memory/memory-engine.ts";
import { JSON_ATTRIBUTES, JSON_CONTENT_TYPE } from "../../src/model/entry.ts";
import { Glob } from "../../src/model/glob.ts";
import { HybridClock, versionAt } from "../../src/model/hybrid-clock.ts";
import type { Version } from "../../src/model/stamp.ts";
import { keyOf, ManualClock, RecordingSink, smallEngine } from "../support/engine-io.ts";
import { OvertakingEngine } from "../support/overtaking-engine.ts";
import { putIn } from "../support/put-in.ts";

let clock: ManualClock;
let versions: HybridClock;
let engine: MemoryEngine;
let cache: Cache;

beforeEach(() => {
  clock = new ManualClock();
  versions = HybridClock.create(clock.read);
  engine = smallEngine(4 * 1024 * 1024, clock);
  cache = cacheOver(engine);
});

function cacheOver(below: Engine, defaultTtlMs: number | null = null): Cache {
  return new Cache({ engine: below, versions, nowMs: clock.read, defaultTtlMs, nodeId: 0, link: null });
}

function json(text: string): NewValue {
  const source = Buffer.from(text);
  return { source, start: 0, end: source.length, attributes: JSON_ATTRIBUTES };
}

function stored(key: string): RecordingSink | null {
  const sink = new RecordingSink();
  return engine.get(keyOf(key), sink) ? sink : null;
}

function storedText(key: string): string | null {
  return stored(key)?.target.toString() ?? null;
}

describe("a cache", () => {
  test("gives back what was put, at once, with a version of its clock", () => {
    expect(putIn(cache, keyOf("a"), json("[1]"), DEFAULT_TTL, null)).toBe("stored");
    const sink = new RecordingSink();
    expect(cache.get(keyOf("a"), sink)).toBe(true);
    expect(sink.target.toString()).toBe("[1]");
    expect(sink.contentType).toBe(JSON_CONTENT_TYPE);
    expect(sink.revision).toBe(versionAt(clock.nowMs));
  });

  test("keeps the key of a large value that has to wait for room, though its buffer is used again", async () => {
    const roomy = Promise.withResolvers<void>();
    let making: Promise<void> | null = roomy.promise;
    const key = keyOf("a");
    const waiting = putIn(cacheOver(Object.assign(engine, { makeRoom: () => making })), key, json("1"), 0, null);
    key.bytes.write("b");
    making = null;
    roomy.resolve();
    expect([await waiting, storedText("a"), storedText("b")]).toEqual(["stored", "1", null]);
  });

  test("puts only the named part of the source", () => {
    const source = Buffer.from('{"value":"x"}');
    putIn(cache, keyOf("a"), { source, start: 9, end: 12, attributes: JSON_ATTRIBUTES }, 0, null);
    expect(storedText("a")).toBe('"x"');
  });

  test("lets an entry expire after its TTL, to the millisecond", () => {
    putIn(cache, keyOf("a"), json("1"), 5_000, null);
    clock.nowMs += 4_999;
    expect(storedText("a")).toBe("1");
    clock.nowMs += 1;
    expect(storedText("a")).toBeNull();
  });

  test("without a default TTL keeps what names none", () => {
    putIn(cache, keyOf("a"), json("1"), DEFAULT_TTL, null);
    expect(stored("a")?.expiresAtMs).toBe(0);
  });

  test("gives its default TTL to puts and counters that name none, and to no others", () => {
    const withDefault = cacheOver(engine, 60_000);
    putIn(withDefault, keyOf("none"), json("1"), DEFAULT_TTL, null);
    putIn(withDefault, keyOf("never"), json("1"), 0, null);
    putIn(withDefault, keyOf("own"), json("1"), 1_000, null);
    withDefault.increment(keyOf("count"), 1, null);
    expect(stored("none")?.expiresAtMs).toBe(clock.nowMs + 60_000);
    expect(stored("never")?.expiresAtMs).toBe(0);
    expect(stored("own")?.expiresAtMs).toBe(clock.nowMs + 1_000);
    expect(stored("count")?.expiresAtMs).toBe(clock.nowMs + 60_000);
  });

  test("keeps a counter's own TTL when it counts on", () => {
    putIn(cache, keyOf("count"), json("41"), 1_000, null);
    expect(cacheOver(engine, 60_000).increment(keyOf("count"), 1, null)).toEqual({ kind: "incremented", value: 42 });
    expect(stored("count")?.expiresAtMs).toBe(clock.nowMs + 1_000);
  });

  test("sets another expiry, and none, by touch", () => {
    putIn(cache, keyOf("a"), json("1"), 1_000, null);
    expect(cache.touch(keyOf("a"), 9_000, null)).toBe("touched");
    expect(stored("a")?.expiresAtMs).toBe(clock.nowMs + 9_000);
    expect(cache.touch(keyOf("a"), 0, null)).toBe("touched");
    expect(stored("a")?.expiresAtMs).toBe(0);
    expect(cache.touch(keyOf("nobody"), 0, null)).toBe("absent");
  });

  test("tells whether a delete found something", () => {
    putIn(cache, keyOf("a"), json("1"), 0, null);
    expect(cache.delete(keyOf("a"), null)).toBe("deleted");
    expect(cache.delete(keyOf("a"), null)).toBe("absent");
  });

  test("removes by pattern, and everything, and counts what it removed", async () => {
    for (const key of ["user:1", "user:2", "other"]) putIn(cache, keyOf(key), json("1"), 0, null);
    expect(await cache.deleteMatching(Glob.parse("user:*"))).toBe(2);
    expect(storedText("other")).toBe("1");
    putIn(cache, keyOf("more"), json("1"), 0, null);
    expect(await cache.clear()).toBe(2);
    expect(putIn(cache, keyOf("after"), json("1"), 0, null)).toBe("stored");
  });

  test("does nothing where a condition fails", () => {
    putIn(cache, keyOf("a"), json("1"), 0, null);
    const absent = { kind: "absent" } as const;
    expect(putIn(cache, keyOf("a"), json("2"), 0, absent)).toBe("condition-failed");
    expect(cache.touch(keyOf("a"), 1, absent)).toBe("condition-failed");
    expect(cache.increment(keyOf("a"), 1, absent)).toEqual({ kind: "condition-failed" });
    expect(cache.delete(keyOf("a"), absent)).toBe("condition-failed");
    expect(storedText("a")).toBe("1");
  });
});

describe("a mutation that another thread's overtakes between its stamp and the engine", () => {
  let overtaking: OvertakingEngine;
  let overtaken: Cache;

  beforeEach(() => {
    overtaking = new OvertakingEngine(engine);
    overtaken = cacheOver(overtaking);
  });

  test("is no second holder of a lock", () => {
    overtaking.next = () => expect(putIn(cache, keyOf("lock"), json('"theirs"'), 0, { kind: "absent" })).toBe("stored");
    expect(putIn(overtaken, keyOf("lock"), json('"ours"'), 0, { kind: "absent" })).toBe("condition-failed");
    expect(storedText("lock")).toBe('"theirs"');
  });

  test("is counted all the same", () => {
    overtaking.next = () => cache.increment(keyOf("count"), 1, null);
    expect(overtaken.increment(keyOf("count"), 1, null)).toEqual({ kind: "incremented", value: 2 });
  });

  test("deletes what the other only touched", () => {
    putIn(cache, keyOf("a"), json('"old"'), 0, null);
    overtaking.next = () => cache.touch(keyOf("a"), 60_000, null);
    expect(overtaken.delete(keyOf("a"), null)).toBe("deleted");
    expect(storedText("a")).toBeNull();
  });

  test("stores over what the other only touched", () => {
    putIn(cache, keyOf("a"), json('"old"'), 0, null);
    overtaking.next = () => cache.touch(keyOf("a"), 60_000, null);
    expect(putIn(overtaken, keyOf("a"), json('"new"'), 0, null)).toBe("stored");
    expect(storedText("a")).toBe('"new"');
  });

  test("sets its TTL on what the other counted", () => {
    putIn(cache, keyOf("count"), json("1"), 0, null);
    overtaking.next = () => cache.increment(keyOf("count"), 1, null);
    expect(overtaken.touch(keyOf("count"), 60_000, null)).toBe("touched");
    expect(storedText("count")).toBe("2");
    expect(stored("count")?.expiresAtMs).toBe(clock.nowMs + 60_000);
  });

  test("gives way where what is stored stays ahead", () => {
    const ahead = HybridClock.create(() => clock.nowMs + 3_600_000);
    const version: Version = ahead.next();
    const value = { ...json('"ahead"'), expiresAtMs: 0, stamp: { version, nodeId: 7 }, condition: null };
    engine.put({ key: keyOf("a"), ...value });
    expect(putIn(cache, keyOf("a"), json("1"), 0, null)).toBe("superseded");
    expect(cache.delete(keyOf("a"), null)).toBe("superseded");
    expect(cache.touch(keyOf("a"), 9_000, null)).toBe("touched");
    expect(cache.increment(keyOf("a"), 1, null)).toEqual({ kind: "superseded" });
    expect(storedText("a")).toBe('"ahead"');
  });
});

test("two threads that count together lose nothing", async () => {
  const shared = MemoryEngine.create({ limitBytes: 4 * 1024 * 1024, threads: 3, clock: Date.now });
  const clockOfAll = HybridClock.create(Date.now);
  const lost = await Promise.all(
    [1, 2].map((thread) => {
      const workerData = { handle: shared.handle, versions: clockOfAll.buffer, thread, count: 50_000 };
      return new Promise<number>((resolve, reject) => {
        const worker = new Worker(new URL("./counter-worker.ts", import.meta.url), { workerData });
        worker.once("message", resolve);
        worker.once("error", reject);
      });
    }),
  );
  expect(lost).toEqual([0, 0]);
  const sink = new RecordingSink();
  expect(shared.get(keyOf("count"), sink)).toBe(true);
  expect(sink.target.toString()).toBe("100000");
});
