/** What becomes of writes whose way to Redis, or whose answer from it, is lost: one at a time, at every place. */

import { afterEach, describe, expect, test } from "bun:test";
import { AwayEngine, PendingFlags } from "../../src/cache/away-engine.ts";
import { Cache } from "../../src/cache/cache.ts";
import { committed } from "../../src/cache/commit-log.ts";
import { Filler } from "../../src/cache/filler.ts";
import { KeyGate } from "../../src/cache/key-gate.ts";
import { FROM_CLIENT } from "../../src/cache/pipeline.ts";
import { RecentInvalidations } from "../../src/cache/recent-invalidations.ts";
import { RecentPuts } from "../../src/cache/recent-puts.ts";
import { EngineUnavailableError } from "../../src/engine/engine.ts";
import { MemoryEngine } from "../../src/engine/memory/memory-engine.ts";
import { JSON_ATTRIBUTES, JSON_CONTENT_TYPE, NEVER } from "../../src/model/entry.ts";
import { Glob } from "../../src/model/glob.ts";
import { HybridClock, VERSIONS_PER_MS } from "../../src/model/hybrid-clock.ts";
import type { Mutation } from "../../src/model/mutation.ts";
import { toVersion } from "../../src/model/stamp.ts";
import { ENGINE, PendingWrites } from "../../src/node/pending-writes.ts";
import { queueKeyOf, rowOf } from "../../src/outbox/entry.ts";
import { DoubtfulEngine, type Fate } from "../support/doubtful-engine.ts";
import { keyOf, RecordingSink } from "../support/engine-io.ts";
import { FakeUpstream, shownMutation } from "../support/fake-upstream.ts";
import { settled } from "../support/manual-scheduler.ts";
import { putIn } from "../support/put-in.ts";
import { tempFolder } from "../support/temp-folder.ts";
import { openTestOutbox } from "../support/test-outbox.ts";

const NODE_ID = 7;
const closers: (() => unknown)[] = [];

afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

/** A node of one thread on an engine that outlives it, as a server does; it tells the engine what waits when it is started. */
function startNode(folder: string, redis: DoubtfulEngine) {
  const { outbox, scheduler, [Symbol.dispose]: closeOutbox } = openTestOutbox(folder);
  const nowMs = () => scheduler.nowMs();
  const invalidations = RecentInvalidations.create();
  const flags = new PendingFlags();
  const upstream = new FakeUpstream();
  upstream.loads = false;
  const writes = new PendingWrites({
    outbox,
    engine: redis,
    invalidations,
    flags,
    scheduler,
    tombstoneMs: 60_000,
    record: (put) => committed(upstream, put),
  });
  const port = Object.assign(upstream, {
    keepPending: (mutation: Mutation) => writes.keep(mutation),
    pendingOf: async (key: string) => writes.of(key),
    doubt: (key: string, stamp: Parameters<PendingWrites["doubt"]>[1]) => writes.doubt(key, stamp),
  });
  const engine = new AwayEngine({
    ...{ engine: redis, waiting: port, invalidations, pending: flags, nowMs },
    get backingStore() {
      return upstream.loads ? upstream : null;
    },
  });
  const versions = HybridClock.create(nowMs);
  versions.observe(outbox.newestVersion);
  const cache = new Cache({
    ...{ engine, versions, nowMs, defaultTtlMs: null, nodeId: NODE_ID },
    link: { ...upstream.link, invalidations, recentPuts: RecentPuts.create(), gate: KeyGate.create() },
  });
  const filler = new Filler({
    ...{ engine: redis, invalidations, onFailure: () => {} },
    late: {
      untilMs: () => nowMs() + 60_000,
      hides: (key, stamp) => writes.hides(key, stamp),
      keepGone: (key, stamp) => writes.keep({ kind: "delete", key, stamp, isReplicated: false }),
    },
  });
  let isClosed = false;
  const stop = async () => {
    if (isClosed) return;
    isClosed = true;
    await writes.stop();
    closeOutbox();
  };
  closers.push(stop);
  return { cache, outbox, versions, flags, upstream, writes, filler, scheduler, stop };
}

function setUp() {
  const folder = tempFolder();
  closers.push(() => folder[Symbol.dispose]());
  const memory = MemoryEngine.create({
    limitBytes: 4 * 1024 * 1024,
    threads: 1,
    versioned: true,
    clock: () => 1_800_000_000_000,
  });
  const redis = new DoubtfulEngine(memory);
  const node = startNode(folder.path, redis);
  node.writes.start();
  return { ...node, redis, restarted: () => startNode(folder.path, redis) };
}

type Node = ReturnType<typeof startNode>;

async function put({ cache }: Pick<Node, "cache">, key: string, text: string) {
  const source = Buffer.from(text);
  const value = { source, start: 0, end: source.length, attributes: JSON_ATTRIBUTES };
  return putIn(cache, keyOf(key), value, 0, null, FROM_CLIENT);
}

async function read({ cache }: Pick<Node, "cache">, key: string): Promise<string | null> {
  const sink = new RecordingSink();
  return (await cache.get(keyOf(key), sink)) ? sink.target.toString() : null;
}

async function recovered({ flags, scheduler }: Pick<Node, "flags" | "scheduler">): Promise<void> {
  for (let tries = 0; tries < 20 && flags.hasAny; tries++) await scheduler.advance(250);
  await settled();
  expect(flags.hasAny).toBe(false);
}

const FATES: readonly Fate[] = ["lost", "unheard", "late"];

interface Write {
  readonly name: string;
  readonly run: (node: Node) => Promise<unknown>;
  readonly leaves: string | null;
}

const WRITES: readonly Write[] = [
  { name: "put", run: (node) => put(node, "a:1", "2"), leaves: "2" },
  { name: "delete", run: async ({ cache }) => cache.delete(keyOf("a:1"), null), leaves: null },
  { name: "pattern delete", run: ({ cache }) => cache.deleteMatching(Glob.parse("a:*")), leaves: null },
  { name: "clear", run: async ({ cache }) => cache.clear(), leaves: null },
];

for (const fate of FATES) {
  describe(`a write whose message is ${fate}`, () => {
    for (const { name, run, leaves } of WRITES) {
      test(`is acknowledged, seen at once, and in the engine in the end: ${name}`, async () => {
        const node = setUp();
        const { redis } = node;
        await put(node, "a:1", "1");
        redis.fate = fate;
        await run(node);
        // Also while the engine has the older value, and answers again.
        expect(node.flags.hasAny).toBe(true);
        redis.fate = "answers";
        expect(await read(node, "a:1")).toBe(leaves);
        await recovered(node);
        expect(await read(node, "a:1")).toBe(leaves);
        await redis.catchUp();
        expect(await read(node, "a:1")).toBe(leaves);
      });

      test(`is so after a restart, too: ${name}`, async () => {
        const first = setUp();
        const { redis } = first;
        await put(first, "a:1", "1");
        redis.fate = fate;
        await run(first);
        await first.stop();
        redis.fate = "answers";
        const second = first.restarted();
        // Clients may be there before the node has begun to tell the engine.
        expect(await read(second, "a:1")).toBe(leaves);
        second.writes.start();
        await recovered(second);
        await redis.catchUp();
        expect(await read(second, "a:1")).toBe(leaves);
      });

      test(`loses against a newer one, whenever it is done: ${name}`, async () => {
        const node = setUp();
        const { redis } = node;
        await put(node, "a:1", "1");
        redis.fate = fate;
        await run(node);
        redis.fate = "answers";
        await put(node, "a:1", "3");
        expect(await read(node, "a:1")).toBe("3");
        await redis.catchUp();
        expect(await read(node, "a:1")).toBe("3");
        await recovered(node);
        expect(await read(node, "a:1")).toBe("3");
      });
    }

    test("loses against a newer pattern delete, too", async () => {
      const node = setUp();
      const { redis, cache } = node;
      redis.fate = fate;
      await put(node, "a:1", "2");
      redis.fate = "answers";
      await cache.deleteMatching(Glob.parse("a:*"));
      expect(await read(node, "a:1")).toBeNull();
      await recovered(node);
      await redis.catchUp();
      expect(await read(node, "a:1")).toBeNull();
    });

    test("that depends on what is stored is no success, and recorded only if it was done", async () => {
      const node = setUp();
      const { redis, upstream } = node;
      await put(node, "n", "5");
      upstream.recorded.length = 0;
      redis.fate = fate;
      const counting = (async () => node.cache.increment(keyOf("n"), 1, null))();
      await expect(counting).rejects.toBeInstanceOf(EngineUnavailableError);
      redis.fate = "answers";
      await node.scheduler.advance(1_000);
      expect(await read(node, "n")).toBe(fate === "unheard" ? "6" : "5");
      expect(upstream.recorded.map(shownMutation)).toEqual(fate === "unheard" ? ["put n=6"] : []);
    });
  });
}

describe("while a write waits", () => {
  test("what would have to see it is refused, and its neighbours are not", async () => {
    const node = setUp();
    const { redis, cache } = node;
    await put(node, "n", "1");
    await put(node, "m", "1");
    redis.fate = "lost";
    await put(node, "n", "5");
    redis.fate = "answers";
    for (const call of [
      async () => cache.increment(keyOf("n"), 1, null),
      async () => cache.touch(keyOf("n"), 1_000, null),
      async () => cache.delete(keyOf("n"), { kind: "present" }),
      async () => cache.keys({ pattern: null, cursor: null, limit: 10 }),
    ]) {
      await expect(call()).rejects.toBeInstanceOf(EngineUnavailableError);
    }
    expect(await cache.increment(keyOf("m"), 1, null)).toMatchObject({ kind: "incremented", value: 2 });
    await recovered(node);
    expect(await cache.increment(keyOf("n"), 1, null)).toMatchObject({ kind: "incremented", value: 6 });
  });

  test("health says how many do, and the drain gives those that are left", async () => {
    const node = setUp();
    const { redis, writes, scheduler } = node;
    expect(writes.health()).toMatchObject({ status: "ok", detail: "" });
    redis.fate = "lost";
    await put(node, "a", "1");
    await put(node, "b", "1");
    expect(writes.health()).toMatchObject({ status: "degraded", facts: { writes: 2 } });
    expect(writes.health().detail).toStartWith("2 writes wait for the engine: ");
    const draining = writes.drain(1_000);
    await scheduler.advance(2_000);
    expect(await draining).toBe(2);
    redis.fate = "answers";
    const drained = writes.drain(10_000);
    await scheduler.advance(2_000);
    expect(await drained).toBe(0);
  });

  test("its queue has room beyond the bound: it is acknowledged to others already", async () => {
    const node = setUp();
    const { redis, outbox } = node;
    redis.fate = "lost";
    const large = JSON.stringify("x".repeat(10_000));
    for (let at = 0; outbox.usedBytes < outbox.limitBytes && at < 10; at++) await put(node, `k${at}`, large);
    expect(outbox.counts(ENGINE).pending).toBe(10);
  });
});

describe("while the engine is away", () => {
  test("every write is refused before it is recorded", async () => {
    const node = setUp();
    const { redis, cache, upstream, outbox } = node;
    redis.isReachable = false;
    redis.fate = "lost";
    for (const call of [
      () => put(node, "k", "1"),
      () => put(node, "k", JSON.stringify("x".repeat(100_000))),
      async () => cache.delete(keyOf("k"), null),
      async () => cache.delete(keyOf("k"), { kind: "present" }),
      async () => cache.touch(keyOf("k"), 1_000, null),
      async () => cache.increment(keyOf("k"), 1, null),
      async () => cache.deleteMatching(Glob.parse("*")),
      async () => cache.clear(),
    ]) {
      await expect(call()).rejects.toBeInstanceOf(EngineUnavailableError);
    }
    expect(upstream.recorded).toEqual([]);
    expect(outbox.counts(ENGINE).pending).toBe(0);
  });

  test("reads come from what is behind; that it has none is no answer", async () => {
    const node = setUp();
    const { redis, upstream } = node;
    await put(node, "only-here", "1");
    redis.fate = "lost";
    upstream.loads = true;
    const value = { bytes: Buffer.from("9"), contentType: JSON_CONTENT_TYPE };
    const stamp = { version: 1 as never, nodeId: 0 };
    const state = { isStale: false, isStored: false, isCollapsed: false };
    upstream.onLoad = (key) =>
      key === "k" ? { kind: "found", value, expiresAtMs: 0, stamp, ...state } : { kind: "absent" };
    expect(await read(node, "k")).toBe("9");
    await expect(read(node, "only-here")).rejects.toBeInstanceOf(EngineUnavailableError);
    upstream.onLoad = () => {
      throw new Error("the database is away as well");
    };
    await expect(read(node, "k")).rejects.toBeInstanceOf(EngineUnavailableError);
  });
});

for (const fate of ["answers", ...FATES] as const) {
  test(`a fill whose undoing is ${fate} is never read again, nor one that comes after it`, async () => {
    const node = setUp();
    const { redis, upstream, cache } = node;
    const { filler } = node;
    const value = { bytes: Buffer.from("1"), contentType: JSON_CONTENT_TYPE };
    // Loaded before the put was kept, with a version that is newer than the put's stamp.
    redis.fate = "late";
    await filler.fill("k", value, 0, { version: 5 as never, nodeId: 0 });
    redis.fate = fate;
    await filler.undo("k", 5 as never);
    redis.fate = "answers";
    await recovered(node);
    await redis.catchUp();
    expect(await read(node, "k")).toBeNull();
    redis.fate = "lost";
    await filler.undo("k", 6 as never);
    upstream.loads = true;
    await expect((async () => cache.get(keyOf("k"), new RecordingSink()))()).rejects.toBeInstanceOf(
      EngineUnavailableError,
    );
  });
}

test("what was recorded right before the end, and may not have reached the engine, is told to it after a restart", async () => {
  const first = setUp();
  const { outbox, redis, versions } = first;
  const keys = ["put", "deleted", "newer", "long-ago"];
  for (const key of keys) await put(first, key, "1");
  const now = versions.next();
  const row = (key: string, version: number) => {
    const value = { bytes: Buffer.from("2"), contentType: JSON_CONTENT_TYPE };
    const stamp = { version: toVersion(version), nodeId: NODE_ID };
    return rowOf("backend", { kind: "put", key, value, expiresAtMs: NEVER, stamp });
  };
  const longAgo = now - 3_600_000 * VERSIONS_PER_MS;
  const removed = rowOf("backend", { kind: "delete", key: "deleted", stamp: { version: now, nodeId: NODE_ID } });
  await outbox.append([row("put", now), removed, row("newer", 1), row("long-ago", longAgo)]);
  // In the first tier of the outbox, and (after the restart) in the second.
  expect(outbox.recent("backend", now).map(queueKeyOf)).toEqual(["put", "deleted"]);
  await first.stop();
  redis.fate = "lost";
  const second = first.restarted();
  second.writes.start();
  await settled();
  redis.fate = "answers";
  const values = () => Promise.all(keys.map((key) => read(second, key)));
  expect(await values()).toEqual(["2", null, "1", "1"]);
  await recovered(second);
  expect(await values()).toEqual(["2", null, "1", "1"]);
});

test("what another node has written since wins over what waits here, before and after that is applied", async () => {
  const node = setUp();
  const { redis } = node;
  redis.fate = "lost";
  await put(node, "k", "1");
  redis.fate = "answers";
  const source = Buffer.from("2");
  const range = { source, start: 0, end: source.length, attributes: JSON_ATTRIBUTES, expiresAtMs: 0 };
  const stamp = { version: Number.MAX_SAFE_INTEGER as never, nodeId: 9 };
  expect(await redis.put({ key: keyOf("k"), ...range, stamp, condition: null })).toBe("stored");
  expect(await read(node, "k")).toBe("2");
  await recovered(node);
  expect(await read(node, "k")).toBe("2");
});
