import { beforeEach, describe, expect, test } from "bun:test";
import { Cache, DEFAULT_TTL } from "../../src/cache/cache.ts";
import type { NewValue } from "../../src/cache/changes.ts";
import { KeyGate } from "../../src/cache/key-gate.ts";
import { RecentInvalidations } from "../../src/cache/recent-invalidations.ts";
import { RecentPuts } from "../../src/cache/recent-puts.ts";
import type { MemoryEngine } from "../../src/engine/memory/memory-engine.ts";
import { JSON_ATTRIBUTES } from "../../src/model/entry.ts";
import { HybridClock } from "../../src/model/hybrid-clock.ts";
import type { Mutation } from "../../src/model/mutation.ts";
import { keyOf, ManualClock, RecordingSink, smallEngine } from "../support/engine-io.ts";
import { FakeUpstream, outboxFull } from "../support/fake-upstream.ts";
import { settled } from "../support/manual-scheduler.ts";
import { putIn } from "../support/put-in.ts";

const KEY = keyOf("k");

let engine: MemoryEngine;
let upstream: FakeUpstream;
/** Two threads of one node. */
let first: Cache;
let second: Cache;
/** Set by a test: commits of puts and deletes wait for it. */
let commit: PromiseWithResolvers<void> | null;

beforeEach(() => {
  const clock = new ManualClock();
  engine = smallEngine(4 * 1024 * 1024, clock);
  upstream = new FakeUpstream();
  upstream.loads = false;
  commit = null;
  upstream.onRecord = async (mutation: Mutation) => {
    if (mutation.kind !== "touch") await commit?.promise;
  };
  const shared = {
    ...{ engine, nowMs: clock.read, defaultTtlMs: null, nodeId: 7 },
    versions: HybridClock.create(clock.read),
  };
  const link = { ...upstream.link, invalidations: RecentInvalidations.create(), recentPuts: RecentPuts.create() };
  const gate = KeyGate.create();
  first = new Cache({ ...shared, link: { ...link, gate } });
  second = new Cache({ ...shared, link: { ...link, gate: KeyGate.attach(gate.buffer) } });
});

function json(text: string): NewValue {
  const source = Buffer.from(text);
  return { source, start: 0, end: source.length, attributes: JSON_ATTRIBUTES };
}

function stored(): string | null {
  const sink = new RecordingSink();
  return engine.get(KEY, sink) ? sink.target.toString() : null;
}

const versionStored = () => engine.stampOf(KEY)?.version ?? 0;

/** Stores 1, and lets a thread put 10 whose commit waits. */
async function putThatWaits(): Promise<unknown> {
  await putIn(first, KEY, json("1"), DEFAULT_TTL, null);
  commit = Promise.withResolvers();
  return putIn(first, KEY, json("10"), DEFAULT_TTL, null);
}

function release(): void {
  commit?.resolve();
  commit = null;
}

describe("while a put of the key has its stamp and waits for its commit,", () => {
  const isIfMatch = () => ({ kind: "revision-in", revisions: [versionStored()] }) as const;
  const calls = [
    ["a touch", () => second.touch(KEY, 60_000, null), "touched", "10"],
    ["an increment", () => second.increment(KEY, 1, null), { kind: "incremented", value: 11 }, "11"],
    ["a put with If-Match", () => putIn(second, KEY, json("2"), DEFAULT_TTL, isIfMatch()), "condition-failed", "10"],
    ["a delete with If-Match", () => second.delete(KEY, isIfMatch()), "condition-failed", "10"],
  ] as const;

  test.each(calls)("%s waits, and sees it", async (_, call, outcome, left) => {
    const put = putThatWaits();
    await settled();
    let isDone = false;
    const called = (async () => call())().finally(() => {
      isDone = true;
    });
    await settled();
    expect([isDone, stored()]).toEqual([false, "1"]);
    release();
    expect(await put).toBe("stored");
    expect<unknown>(await called).toEqual(outcome);
    expect(stored()).toBe(left);
  });

  test("a put is stamped after what waits for it, and comes last", async () => {
    const put = putThatWaits();
    await settled();
    const increment = second.increment(KEY, 1, null);
    await settled();
    const later = putIn(second, KEY, json("20"), DEFAULT_TTL, null);
    await settled();
    release();
    await Promise.all([put, increment, later]);
    expect(stored()).toBe("20");
    expect(await increment).toEqual({ kind: "incremented", value: 11 });
  });

  test("a put of another key does not wait", async () => {
    const put = putThatWaits();
    await settled();
    void second.increment(KEY, 1, null);
    await settled();
    commit = null;
    expect(await putIn(second, keyOf("other"), json("1"), DEFAULT_TTL, null)).toBe("stored");
    void put;
  });
});

test("a delete that waits for its commit is seen by an increment, which begins at 0", async () => {
  await putIn(first, KEY, json("5"), DEFAULT_TTL, null);
  commit = Promise.withResolvers();
  const removed = first.delete(KEY, null);
  await settled();
  const increment = second.increment(KEY, 1, null);
  await settled();
  release();
  expect(await removed).toBe("deleted");
  expect(await increment).toEqual({ kind: "incremented", value: 1 });
});

test("a delete that waits for its commit is seen by a put that wants nothing to be there", async () => {
  await putIn(first, KEY, json("5"), DEFAULT_TTL, null);
  commit = Promise.withResolvers();
  const removed = first.delete(KEY, null);
  await settled();
  const put = putIn(second, KEY, json("6"), DEFAULT_TTL, { kind: "absent" });
  await settled();
  release();
  expect([await removed, await put]).toEqual(["deleted", "stored"]);
  expect(stored()).toBe("6");
});

test("a put that is refused lets those go on that waited for it", async () => {
  await putIn(first, KEY, json("1"), DEFAULT_TTL, null);
  commit = Promise.withResolvers();
  const put = (async () => putIn(first, KEY, json("10"), DEFAULT_TTL, null))();
  put.catch(() => {});
  await settled();
  const increment = second.increment(KEY, 1, null);
  await settled();
  commit.reject(outboxFull());
  commit = null;
  expect(put).rejects.toThrow("the outbox is full");
  expect(await increment).toEqual({ kind: "incremented", value: 2 });
});

test("every increment counts, and every put is seen by the calls after it, however they mix", async () => {
  await putIn(first, KEY, json("0"), DEFAULT_TTL, null);
  const increments = Array.from({ length: 50 }, (_, at) => (at % 2 === 0 ? first : second).increment(KEY, 1, null));
  expect((await Promise.all(increments)).every(({ kind }) => kind === "incremented")).toBe(true);
  expect(stored()).toBe("50");
});
