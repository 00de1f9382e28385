import { beforeEach, describe, expect, test } from "bun:test";
import type { Loaded, LoadSink, LoadState } from "../../src/cache/backing-store.ts";
import { Cache } from "../../src/cache/cache.ts";
import type { NewValue } from "../../src/cache/changes.ts";
import { Filler } from "../../src/cache/filler.ts";
import { KeyGate } from "../../src/cache/key-gate.ts";
import { RecentInvalidations } from "../../src/cache/recent-invalidations.ts";
import { RecentPuts } from "../../src/cache/recent-puts.ts";
import type { Engine, IncrementOutcome, IncrementRequest } from "../../src/engine/engine.ts";
import { MemoryEngine } from "../../src/engine/memory/memory-engine.ts";
import { JSON_ATTRIBUTES, JSON_CONTENT_TYPE, NEVER } from "../../src/model/entry.ts";
import { Glob } from "../../src/model/glob.ts";
import { HybridClock } from "../../src/model/hybrid-clock.ts";
import { FILL_NODE_ID } from "../../src/model/stamp.ts";
import { keyOf, ManualClock, RecordingSink, smallEngine } from "../support/engine-io.ts";
import { FakeUpstream, notInTime, outboxFull, shownMutation } from "../support/fake-upstream.ts";
import { LateEngine } from "../support/late-engine.ts";
import { OvertakingEngine } from "../support/overtaking-engine.ts";
import { putIn } from "../support/put-in.ts";

const NODE_ID = 7;
const LARGE = JSON.stringify("x".repeat(20_000));

class RecordingLoadSink extends RecordingSink implements LoadSink {
  isStale = false;

  markLoaded({ isStale }: LoadState): void {
    this.isStale = isStale;
  }
}

/** What is counted here expires at once. */
class BriefEngine extends LateEngine {
  override async increment(request: IncrementRequest): Promise<IncrementOutcome> {
    const outcome = await super.increment(request);
    clock.nowMs += 120_000;
    return outcome;
  }
}

let clock: ManualClock;
let versions: HybridClock;
let invalidations: RecentInvalidations;
let engine: MemoryEngine;
let upstream: FakeUpstream;
let cache: Cache;

beforeEach(() => {
  clock = new ManualClock();
  versions = HybridClock.create(clock.read);
  invalidations = RecentInvalidations.create();
  engine = smallEngine(4 * 1024 * 1024, clock);
  upstream = new FakeUpstream();
  cache = cacheOver(engine);
});

function cacheOver(below: Engine): Cache {
  return new Cache({
    engine: below,
    versions,
    nowMs: clock.read,
    defaultTtlMs: null,
    nodeId: NODE_ID,
    link: { ...upstream.link, invalidations, recentPuts: RecentPuts.create(), gate: KeyGate.create() },
  });
}

function json(text: string): NewValue {
  const source = Buffer.from(text);
  return { source, start: 0, end: source.length, attributes: JSON_ATTRIBUTES };
}

function storedText(key: string): string | null {
  const sink = new RecordingSink();
  return engine.get(keyOf(key), sink) ? sink.target.toString() : null;
}

function recorded(): string[] {
  return upstream.recorded.map(shownMutation);
}

/** A backend that has one value for every key. */
function hasAlways(text: string): (key: string) => Promise<Loaded> {
  const filler = new Filler({ engine, invalidations, onFailure: (error) => expect(error).toBeNull() });
  return async (key) => {
    const stamp = { version: versions.next(), nodeId: NODE_ID };
    const value = { bytes: Buffer.from(text), contentType: JSON_CONTENT_TYPE };
    await filler.fill(key, value, clock.nowMs + 60_000, stamp);
    return {
      kind: "found",
      value,
      expiresAtMs: clock.nowMs + 60_000,
      stamp,
      isStale: false,
      isStored: true,
      isCollapsed: false,
    };
  };
}

describe("a put of a cache with something behind it", () => {
  test.each([
    ["small", "[1]"],
    ["large", LARGE],
  ])("of a %s value is recorded with its stamp, and visible and answered after that", async (_, text) => {
    const seen: (string | null)[] = [];
    upstream.onRecord = () => {
      seen.push(storedText("a") === null ? null : "stored");
    };
    expect(await putIn(cache, keyOf("a"), json(text), 5_000, null)).toBe("stored");
    expect(seen).toEqual([null]);
    expect(storedText("a")).toBe(text);
    const sink = new RecordingSink();
    engine.get(keyOf("a"), sink);
    expect(upstream.recorded).toMatchObject([
      {
        kind: "put",
        key: "a",
        value: { bytes: Buffer.from(text), contentType: JSON_CONTENT_TYPE },
        expiresAtMs: clock.nowMs + 5_000,
        stamp: { version: sink.revision, nodeId: NODE_ID },
        isReplicated: false,
      },
    ]);
    expect(sink.nodeId).toBe(NODE_ID);
  });

  test("keeps copies of key and value: the request's buffers are reused while it waits", async () => {
    const key = keyOf("a");
    const value = json('"mine"');
    const put = putIn(cache, key, value, 0, null);
    key.bytes.fill("z");
    value.source.fill("z");
    await put;
    expect(storedText("a")).toBe('"mine"');
    expect(recorded()).toEqual(['put a="mine"']);
  });

  test("that is refused leaves what was there", async () => {
    await putIn(cache, keyOf("a"), json("1"), 0, null);
    upstream.onRecord = () => {
      throw outboxFull();
    };
    await expect(putIn(cache, keyOf("a"), json("2"), 0, null)).rejects.toThrow("the outbox is full");
    expect(storedText("a")).toBe("1");
    await expect(putIn(cache, keyOf("b"), json("2"), 0, null)).rejects.toThrow("the outbox is full");
    expect(storedText("b")).toBeNull();
  });

  test("under a condition that is refused leaves nothing of itself", async () => {
    upstream.onLoad = hasAlways("1");
    await putIn(cache, keyOf("a"), json("1"), 0, null);
    upstream.onRecord = () => {
      throw outboxFull();
    };
    await expect(putIn(cache, keyOf("a"), json("2"), 0, { kind: "present" })).rejects.toThrow("the outbox is full");
    expect(storedText("a")).toBeNull();
  });

  test("that is written later drops the older entry, which the backend is about to replace", async () => {
    await putIn(cache, keyOf("a"), json("1"), 0, null);
    upstream.onRecord = () => {
      throw notInTime();
    };
    await expect(putIn(cache, keyOf("a"), json("2"), 0, null)).rejects.toThrow("in time");
    expect(storedText("a")).toBeNull();
  });

  test("of a value that can't fit is refused before anything is recorded", async () => {
    const huge = json(JSON.stringify("x".repeat(5_000_000)));
    await putIn(cache, keyOf("a"), json("1"), 0, null);
    expect(await putIn(cache, keyOf("a"), huge, 0, null)).toBe("too-large");
    expect([storedText("a"), recorded()]).toEqual(["1", ["put a=1"]]);
  });

  test("that the engine has no room for drops the older entry and says so", async () => {
    const tiny = new OvertakingEngine(engine);
    tiny.put = () => "too-large";
    await putIn(cache, keyOf("a"), json("1"), 0, null);
    expect(await putIn(cacheOver(tiny), keyOf("a"), json("2"), 0, null)).toBe("too-large");
    expect(storedText("a")).toBeNull();
  });

  test("that a newer one overtook has happened before it, and is done", async () => {
    const overtaking = new OvertakingEngine(engine);
    overtaking.next = () => engine.put({ ...request("a", '"theirs"'), stamp: { version: versions.next(), nodeId: 9 } });
    expect(await putIn(cacheOver(overtaking), keyOf("a"), json('"ours"'), 0, null)).toBe("superseded");
    expect([storedText("a"), recorded()]).toEqual(['"theirs"', ['put a="ours"']]);
  });

  test("that the engine refuses for what it forgot leaves no older copy of the database's", async () => {
    const limitBytes = 4 * 1024 * 1024;
    const versioned = MemoryEngine.create({ limitBytes, threads: 1, versioned: true, clock: clock.read });
    const copy = { ...request("a", '"old"'), stamp: { version: versions.next(), nodeId: FILL_NODE_ID } };
    const overtaking = new OvertakingEngine(versioned);
    overtaking.next = () => {
      versioned.put(copy);
      for (let number = 0; number < 5_000; number++) {
        const stamp = { version: versions.next(), nodeId: 9 };
        versioned.delete({ key: keyOf(`k${number}`), stamp, condition: null, tombstoneUntilMs: NEVER });
      }
    };
    expect(await putIn(cacheOver(overtaking), keyOf("a"), json('"new"'), 0, null)).toBe("superseded");
    expect(versioned.get(keyOf("a"), new RecordingSink())).toBe(false);
  });

  test("that a pattern delete overtook has happened before it", async () => {
    upstream.onRecord = () => {
      if (upstream.recorded.length === 0) invalidations.add("a*", { version: versions.next(), nodeId: NODE_ID });
    };
    expect(await putIn(cache, keyOf("a"), json("1"), 0, null)).toBe("superseded");
    expect([storedText("a"), recorded()]).toEqual([null, ["put a=1"]]);
  });

  test("that a pattern delete meets between two looks is not left behind", async () => {
    const overtaking = new OvertakingEngine(engine);
    overtaking.next = () => invalidations.add("a*", { version: versions.next(), nodeId: NODE_ID });
    expect(await putIn(cacheOver(overtaking), keyOf("a"), json("1"), 0, null)).toBe("superseded");
    expect([storedText("a"), recorded()]).toEqual([null, ["put a=1"]]);
  });

  test("tells who sent it on, and for which trace", async () => {
    const context = { isReplicated: true, traceContext: "00-1-2-01" };
    await putIn(cache, keyOf("a"), json("1"), 0, null, context);
    await cache.delete(keyOf("a"), null, context);
    await cache.clear(context);
    await cache.deleteMatching(Glob.parse("x*"), context);
    expect(upstream.recorded.map(({ isReplicated, traceContext }) => [isReplicated, traceContext])).toEqual(
      upstream.recorded.map(() => [true, "00-1-2-01"]),
    );
    expect(recorded()).toEqual(["put a=1", "delete a", "invalidate all", "invalidate x*"]);
  });
});

describe("what depends on the stored entry", () => {
  test("looks at what the backend has: conditions", async () => {
    upstream.onLoad = hasAlways('"theirs"');
    expect(await putIn(cache, keyOf("a"), json("1"), 0, { kind: "absent" })).toBe("condition-failed");
    expect(await cache.delete(keyOf("b"), { kind: "absent" })).toBe("condition-failed");
    expect(await putIn(cache, keyOf("c"), json("1"), 0, { kind: "present" })).toBe("stored");
    expect(await cache.delete(keyOf("d"), { kind: "present" })).toBe("deleted");
    expect(upstream.loaded).toEqual(["a", "b", "c", "d"]);
    expect(recorded()).toEqual(["put c=1", "delete d"]);
  });

  test("looks at what the backend has: counters and new TTLs", async () => {
    upstream.onLoad = hasAlways("41");
    expect(await cache.increment(keyOf("a"), 1, null)).toEqual({ kind: "incremented", value: 42 });
    expect(await cache.touch(keyOf("b"), 9_000, null)).toBe("touched");
    expect(recorded()).toEqual(["put a=42", "touch b=41"]);
    expect(upstream.recorded[1]).toMatchObject({ expiresAtMs: clock.nowMs + 9_000, touch: { nodeId: NODE_ID } });
  });

  test("does not ask the backend where the cache has the entry, or where there is none to ask", async () => {
    await putIn(cache, keyOf("a"), json("1"), 0, null);
    await cache.increment(keyOf("a"), 1, null);
    upstream.loads = false;
    const withPeersOnly = cacheOver(engine);
    expect(withPeersOnly.loads).toBe(false);
    expect(await withPeersOnly.increment(keyOf("b"), 1, null)).toEqual({ kind: "incremented", value: 1 });
    expect(upstream.loaded).toEqual([]);
    expect(recorded()).toEqual(["put a=1", "put a=2", "put b=1"]);
  });

  test("fails, and changes nothing, where the backend can't say", async () => {
    upstream.onLoad = () => {
      throw notInTime();
    };
    await expect(cache.increment(keyOf("a"), 1, null)).rejects.toThrow("in time");
    await expect(putIn(cache, keyOf("a"), json("1"), 0, { kind: "absent" })).rejects.toThrow("in time");
    await expect(cache.delete(keyOf("a"), { kind: "present" })).rejects.toThrow("in time");
    await expect(cache.touch(keyOf("a"), 1, null)).rejects.toThrow("in time");
    expect(recorded()).toEqual([]);
    expect(storedText("a")).toBeNull();
  });

  test("is fetched again where it expired just before it was changed", async () => {
    upstream.onLoad = hasAlways("41");
    const overtaking = new OvertakingEngine(engine);
    const passTtl = () => {
      clock.nowMs += 120_000;
    };
    overtaking.next = passTtl;
    expect(await cacheOver(overtaking).increment(keyOf("a"), 1, null)).toEqual({ kind: "incremented", value: 42 });
    overtaking.next = passTtl;
    expect(await cacheOver(overtaking).touch(keyOf("b"), 900_000, null)).toBe("touched");
    overtaking.next = passTtl;
    expect(await putIn(cacheOver(overtaking), keyOf("c"), json("1"), 0, { kind: "absent" })).toBe("condition-failed");
    expect(recorded()).toEqual(["put a=42", "touch b=41"]);
  });

  test("is recorded with what was counted where it is gone a moment later", async () => {
    upstream.onLoad = hasAlways("41");
    expect(await cacheOver(new BriefEngine(engine)).increment(keyOf("a"), 1, null)).toEqual({
      kind: "incremented",
      value: 42,
    });
    expect(recorded()).toEqual(["put a=42"]);
  });

  test("is counted on where somebody else made it meanwhile", async () => {
    const overtaking = new OvertakingEngine(engine);
    overtaking.next = () => engine.put({ ...request("a", "7"), stamp: { version: versions.next(), nodeId: NODE_ID } });
    expect(await cacheOver(overtaking).increment(keyOf("a"), 1, null)).toEqual({ kind: "incremented", value: 8 });
  });

  test("is not built on what is stale", async () => {
    const stale = { bytes: Buffer.from("41"), contentType: JSON_CONTENT_TYPE };
    const found = {
      kind: "found",
      value: stale,
      expiresAtMs: 1,
      stamp: { version: versions.next(), nodeId: NODE_ID },
      isStale: true,
      isStored: false,
      isCollapsed: false,
    } as const;
    upstream.onLoad = () => found;
    await expect(cache.increment(keyOf("a"), 1, null)).rejects.toThrow("too old");
    await expect(cache.touch(keyOf("a"), 1, null)).rejects.toThrow("too old");
    expect(recorded()).toEqual([]);
  });

  test("is dropped where it can't be recorded: the next read loads what is true", async () => {
    await putIn(cache, keyOf("a"), json("1"), 0, null);
    upstream.onRecord = () => {
      throw outboxFull();
    };
    await expect(cache.increment(keyOf("a"), 1, null)).rejects.toThrow("the outbox is full");
    expect(storedText("a")).toBeNull();
  });

  test("is not dropped where something newer has its place by the time that it can't be recorded", async () => {
    await putIn(cache, keyOf("a"), json("1"), 0, null);
    upstream.onRecord = () => {
      engine.put({ ...request("a", '"theirs"'), stamp: { version: versions.next(), nodeId: 9 } });
      throw outboxFull();
    };
    await expect(cache.increment(keyOf("a"), 1, null)).rejects.toThrow("the outbox is full");
    expect(storedText("a")).toBe('"theirs"');
  });

  test("stays where it is recorded for later", async () => {
    await putIn(cache, keyOf("a"), json("1"), 0, null);
    upstream.onRecord = () => {
      throw notInTime();
    };
    await expect(cache.increment(keyOf("a"), 1, null)).rejects.toThrow("in time");
    expect(storedText("a")).toBe("2");
  });

  test("is counted once more where a clear came in between", async () => {
    await putIn(cache, keyOf("a"), json("41"), 0, null);
    const overtaking = new OvertakingEngine(engine);
    overtaking.next = () => invalidations.add(null, { version: versions.next(), nodeId: NODE_ID });
    // The clear is the later one of the two that found the entry: the counter begins anew.
    expect(await cacheOver(overtaking).increment(keyOf("a"), 1, null)).toEqual({ kind: "incremented", value: 1 });
    expect(recorded().at(-1)).toBe("put a=1");
  });

  test("is not touched where a clear came in between", async () => {
    await putIn(cache, keyOf("a"), json("41"), 0, null);
    const overtaking = new OvertakingEngine(engine);
    overtaking.next = () => invalidations.add(null, { version: versions.next(), nodeId: NODE_ID });
    expect(await cacheOver(overtaking).touch(keyOf("a"), 1_000, null)).toBe("absent");
    expect(storedText("a")).toBeNull();
    expect(recorded()).toEqual(["put a=41"]);
  });
});

describe("a delete of a cache with something behind it", () => {
  test("is recorded, and remembered against older puts that may still come", async () => {
    await putIn(cache, keyOf("a"), json("1"), 0, null);
    const older = versions.next();
    expect(await cache.delete(keyOf("a"), null)).toBe("deleted");
    expect(recorded()).toEqual(["put a=1", "delete a"]);
    expect(engine.put({ ...request("a", "0"), stamp: { version: older, nodeId: NODE_ID } })).toBe("superseded");
  });

  test("that is refused leaves the entry", async () => {
    await putIn(cache, keyOf("a"), json("1"), 0, null);
    upstream.onRecord = () => {
      throw outboxFull();
    };
    await expect(cache.delete(keyOf("a"), null)).rejects.toThrow("the outbox is full");
    expect(storedText("a")).toBe("1");
  });

  test("by pattern, and of everything, is recorded before it is done, and known to all threads by then", async () => {
    await putIn(cache, keyOf("user:1"), json("1"), 0, null);
    const older = versions.next();
    const seen: unknown[] = [];
    upstream.onRecord = () => {
      seen.push(storedText("user:1"));
    };
    expect(await cache.deleteMatching(Glob.parse("user:*"))).toBe(1);
    expect(await cache.clear()).toBe(0);
    expect(seen).toEqual(["1", null]);
    expect(recorded()).toEqual(["put user:1=1", "invalidate user:*", "invalidate all"]);
    const attached = RecentInvalidations.attach(invalidations.buffer);
    const covering = attached.covering(keyOf("user:2"), { version: older, nodeId: NODE_ID });
    expect(covering).toEqual(upstream.recorded.at(-1)?.stamp ?? null);
  });

  test("by pattern that is refused removes nothing", async () => {
    await putIn(cache, keyOf("user:1"), json("1"), 0, null);
    upstream.onRecord = () => {
      throw outboxFull();
    };
    await expect(cache.deleteMatching(Glob.parse("user:*"))).rejects.toThrow("the outbox is full");
    await expect(cache.clear()).rejects.toThrow("the outbox is full");
    expect(storedText("user:1")).toBe("1");
  });

  test("by pattern tells the backend key by key, where deletes reach it, and only what matches", async () => {
    upstream.deletes = true;
    const keys = Array.from({ length: 1_200 }, (_, number) => `user:${number}`);
    for (const key of [...keys, "other"]) await putIn(cache, keyOf(key), json("1"), 0, null);
    upstream.recorded.length = 0;
    expect(await cache.deleteMatching(Glob.parse("user:*"))).toBe(1_200);
    expect(recorded().at(-1)).toBe("invalidate user:*");
    expect(recorded().slice(0, -1).sort()).toEqual(keys.map((key) => `delete ${key}`).sort());
    await cache.clear();
    expect(recorded().slice(-2)).toEqual(["delete other", "invalidate all"]);
  });

  test("by pattern that a peer sent on tells the backend nothing", async () => {
    upstream.deletes = true;
    await putIn(cache, keyOf("user:1"), json("1"), 0, null);
    await cache.clear({ isReplicated: true });
    expect(recorded()).toEqual(["put user:1=1", "invalidate all"]);
  });
});

describe("a load", () => {
  test("hands what is behind the cache to the sink, and says whether it is stale", async () => {
    const sink = new RecordingLoadSink();
    expect(await cache.load(keyOf("a"), sink)).toBe(false);
    upstream.onLoad = hasAlways("[1]");
    expect(await cache.load(keyOf("a"), sink)).toBe(true);
    expect([sink.target.toString(), sink.contentType, sink.isStale]).toEqual(["[1]", JSON_CONTENT_TYPE, false]);
    expect(sink.expiresAtMs).toBe(clock.nowMs + 60_000);
    const fresh = upstream.onLoad;
    upstream.onLoad = async (key) => ({ ...(await fresh(key)), isStale: true });
    await cache.load(keyOf("a"), sink);
    expect(sink.isStale).toBe(true);
  });
});

describe("an entry that is read shortly before it expires", () => {
  test.each([
    ["at once", () => engine],
    ["later", () => new LateEngine(engine)],
  ])("is reloaded in the background, once it is due (engine that answers %s)", async (_, below) => {
    upstream.refreshAheadMs = 2_000;
    const refreshing = cacheOver(below());
    await putIn(refreshing, keyOf("ends"), json("1"), 10_000, null);
    await putIn(refreshing, keyOf("stays"), json("1"), 0, null);
    const read = async () => {
      for (const key of ["ends", "stays", "nobody"]) await refreshing.get(keyOf(key), new RecordingSink());
    };
    await read();
    clock.nowMs += 8_000;
    await read();
    expect(upstream.refreshed).toEqual([]);
    clock.nowMs += 1;
    await read();
    expect(upstream.refreshed).toEqual(["ends"]);
    const sink = new RecordingSink();
    expect(await refreshing.get(keyOf("ends"), sink)).toBe(true);
    expect(sink.target.toString()).toBe("1");
  });
});

function request(key: string, text: string) {
  const source = Buffer.from(text);
  const value = { source, start: 0, end: source.length, attributes: JSON_ATTRIBUTES };
  return { ...value, key: keyOf(key), expiresAtMs: 0, condition: null };
}
