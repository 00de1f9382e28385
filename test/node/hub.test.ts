import { describe, expect, test } from "bun:test";
import type { Loaded } from "../../src/cache/backing-store.ts";
import type { NewValue } from "../../src/cache/changes.ts";
import { committed } from "../../src/cache/commit-log.ts";
import type { PutRequest } from "../../src/engine/engine.ts";
import { JSON_ATTRIBUTES, JSON_CONTENT_TYPE, NEVER } from "../../src/model/entry.ts";
import { Glob } from "../../src/model/glob.ts";
import { keyOf, RecordingSink } from "../support/engine-io.ts";
import { LateEngine } from "../support/late-engine.ts";
import { settled } from "../support/manual-scheduler.ts";
import { putIn } from "../support/put-in.ts";
import { NODE_ID, openTestHub, type TestHub, WRITE_DELAY_MS } from "../support/test-hub.ts";

function json(text: string): NewValue {
  const source = Buffer.from(text);
  return { source, start: 0, end: source.length, attributes: JSON_ATTRIBUTES };
}

async function put(node: TestHub, key: string, text: string, ttlMs = 0, isReplicated = false) {
  return putIn(node.cache, keyOf(key), json(text), ttlMs, null, { isReplicated });
}

/** What a load gives: the text, with a mark where it is stale; null = absent. A failure is its code. */
async function loaded(node: TestHub, key: string): Promise<string | null> {
  try {
    return shown(await node.hub.load(key));
  } catch (error) {
    return error instanceof Error && "code" in error ? String(error.code) : String(error);
  }
}

function shown(result: Loaded): string | null {
  if (result.kind === "absent") return null;
  return `${result.value.bytes}${result.isStale ? " (stale)" : ""}`;
}

/** A write that the outbox has no room for. */
async function full(node: TestHub): Promise<void> {
  await expect(put(node, "full", JSON.stringify("x".repeat(3_000)))).rejects.toMatchObject({ code: "ERR_OUTBOX_FULL" });
}

/** Lets the commits go on that were held. */
async function commits(held: (() => void)[]): Promise<void> {
  for (let turn = 0; turn < 10; turn++) {
    for (const run of held.splice(0)) run();
    await settled();
  }
}

describe("a hub", () => {
  test("brings an acknowledged write to the database after the delay, the newest of its key", async () => {
    await using node = openTestHub();
    await put(node, "a", "1");
    await put(node, "a", "2");
    expect(node.backend.writes).toEqual([]);
    await node.drained();
    expect(node.backend.writes).toEqual([["a"]]);
    expect(node.backend.values.get("a")).toBe("2");
    expect(node.outbox.usedBytes).toBe(0);
  });

  test("keeps versions that it fills into a server, so that writes after a restart pass them whatever the clock says", async () => {
    await using node = openTestHub({
      late: { untilMs: () => 0, hides: () => false, keepGone: async () => {} },
    });
    node.backend.values.set("a", "1");
    for (const ms of [0, 500, 1_000]) {
      await node.scheduler.advance(ms);
      await put(node, "b", "2");
      await node.cache.delete(keyOf("a"), null, { isReplicated: true });
      const result = node.hub.load("a");
      await node.drained();
      expect(shown(await result)).toBe("1");
      const stamp = await node.engine.stampOf(keyOf("a"));
      expect(node.outbox.newestVersion).toBeGreaterThanOrEqual(stamp?.version ?? Number.POSITIVE_INFINITY);
    }
  });

  test("answers a load from the write that waits, and caches it for the TTL of loads", async () => {
    await using node = openTestHub();
    node.backend.values.set("a", "0");
    await put(node, "a", "1", 10);
    await node.scheduler.advance(11);
    expect(node.stored("a")).toBeNull();
    expect(await loaded(node, "a")).toBe("1");
    expect(node.backend.loads).toEqual([]);
    expect(node.stored("a")).toBe("1");
  });

  test("loads once for all who ask, and remembers what is not there until it is written", async () => {
    await using node = openTestHub();
    node.backend.values.set("a", "1");
    expect(await Promise.all([loaded(node, "a"), loaded(node, "a"), loaded(node, "none")])).toEqual(["1", "1", null]);
    expect(await loaded(node, "none")).toBeNull();
    expect(node.backend.loads).toEqual([["a", "none"]]);
    await put(node, "none", "now");
    expect(await loaded(node, "none")).toBe("now");
  });

  test("asks again for what was not there after the TTL of absences", async () => {
    await using node = openTestHub();
    expect(await loaded(node, "a")).toBeNull();
    node.backend.values.set("a", "1");
    await node.scheduler.advance(4_999);
    expect(await loaded(node, "a")).toBeNull();
    await node.scheduler.advance(1);
    expect(await loaded(node, "a")).toBe("1");
  });

  test.each([
    ["a write", (node: TestHub) => put(node, "user:1", '"new"'), '"new"'],
    ["a write that a peer sent on", (node: TestHub) => put(node, "user:1", '"new"', 0, true), '"new"'],
    ["a delete", (node: TestHub) => node.cache.delete(keyOf("user:1"), null), null],
    ["a pattern delete", (node: TestHub) => node.cache.deleteMatching(Glob.parse("user:*")), null],
    ["a clear", (node: TestHub) => node.cache.clear(), null],
  ])("does not cache what was read before %s", async (_, change, afterwards) => {
    await using node = openTestHub();
    node.backend.values.set("user:1", '"old"');
    const letGo = node.backend.hold();
    const early = loaded(node, "user:1");
    await settled();
    await change(node);
    letGo();
    // Whoever waits for it gets what the next read gets, where there is something.
    expect(await early).toBe(afterwards ?? '"old"');
    expect(node.stored("user:1")).toBe(afterwards);
    expect(node.hub.stats().backend).toMatchObject({ discarded: 1 });
  });

  test("caches what was read while something else was deleted", async () => {
    await using node = openTestHub();
    node.backend.values.set("user:1", "1");
    const letGo = node.backend.hold();
    const early = loaded(node, "user:1");
    await settled();
    await node.cache.deleteMatching(Glob.parse("order:*"));
    letGo();
    await early;
    expect(node.stored("user:1")).toBe("1");
  });

  test("shows a write when it is committed, and not before", async () => {
    const held: (() => void)[] = [];
    await using node = openTestHub({ outbox: { defer: (run) => held.push(run) } });
    node.backend.values.set("a", "0");
    const done = put(node, "a", "1");
    await settled();
    expect([await loaded(node, "a"), node.stored("a")]).toEqual(["0", "0"]);
    await commits(held);
    await done;
    expect([await loaded(node, "a"), node.stored("a")]).toEqual(["1", "1"]);
  });

  test("shows nothing of a write whose commit failed, and nothing that was read meanwhile is lost", async () => {
    const held: (() => void)[] = [];
    await using node = openTestHub({ outbox: { defer: (run) => held.push(run), limitPages: 100 } });
    node.backend.values.set("a", "0");
    const refused = put(node, "a", JSON.stringify("x".repeat(1_000_000))).catch((error) => error);
    await settled();
    expect(await loaded(node, "a")).toBe("0");
    await commits(held);
    expect(await refused).toMatchObject({ code: "ERR_OUTBOX_FULL" });
    expect([await loaded(node, "a"), node.stored("a")]).toEqual(["0", "0"]);
  });

  test.each([
    ["a write that waits", "behind", "put", "2"],
    ["a write that the database has", "through", "put", "2"],
    ["a delete that waits", "behind", "delete", null],
    ["a delete that the database has done", "through", "delete", null],
  ] as const)("what was read of %s is not replaced by an older write that a thread is late with", async (...given) => {
    const [, writeMode, kind, read] = given;
    await using node = openTestHub({ config: { writeMode, deletes: true } });
    node.backend.values.set("a", "0");
    const late = { version: node.versions.next(), nodeId: NODE_ID };
    const stamp = { version: node.versions.next(), nodeId: NODE_ID };
    const value = { bytes: Buffer.from("2"), contentType: JSON_CONTENT_TYPE };
    const common = { key: "a", stamp, isReplicated: false };
    const isPut = kind === "put";
    await committed(node.hub, isPut ? { ...common, kind, value, expiresAtMs: NEVER } : { ...common, kind });
    expect(await loaded(node, "a")).toBe(read);
    const request = { key: keyOf("a"), source: Buffer.from("1"), start: 0, end: 1, attributes: JSON_ATTRIBUTES };
    await node.engine.put({ ...request, expiresAtMs: NEVER, stamp: late, condition: null });
    expect(node.stored("a")).toBe(read);
  });

  test("does not keep what it loaded while a write was on its way here", async () => {
    await using node = openTestHub();
    node.backend.values.set("a", "1");
    const value = { bytes: Buffer.from("2"), contentType: JSON_CONTENT_TYPE };
    const stamp = { version: node.versions.next(), nodeId: NODE_ID };
    expect(await loaded(node, "a")).toBe("1");
    const mutation = { kind: "put", key: "a", value, expiresAtMs: NEVER, stamp } as const;
    await committed(node.hub, { ...mutation, isReplicated: false });
    expect(node.stored("a")).not.toBe("1");
    expect(await loaded(node, "a")).toBe("2");
    expect(node.stored("a")).toBe("2");
  });

  test("writes nothing behind that a peer sent on, nor a new TTL", async () => {
    await using node = openTestHub();
    await put(node, "a", "1", 0, true);
    await node.cache.touch(keyOf("a"), 5_000, null);
    await node.cache.delete(keyOf("a"), null, { isReplicated: true });
    await node.drained();
    expect([node.backend.writes, node.backend.values.size, node.outbox.usedBytes]).toEqual([[], 0, 0]);
  });

  test("deletes from the database only where it is told to, in order with the writes", async () => {
    await using keeping = openTestHub();
    await using deleting = openTestHub({ config: { deletes: true } });
    for (const node of [keeping, deleting]) {
      node.backend.values.set("old", "1");
      await put(node, "a", "1");
      await node.cache.delete(keyOf("a"), null);
      await node.cache.delete(keyOf("old"), null);
      await put(node, "b", "1");
      await node.cache.delete(keyOf("b"), null);
      await put(node, "b", "2");
      await node.drained();
    }
    expect([...keeping.backend.values].sort()).toEqual([
      ["a", "1"],
      ["b", "2"],
      ["old", "1"],
    ]);
    expect([...deleting.backend.values]).toEqual([["b", "2"]]);
  });

  test("answers 'absent' for what is about to be deleted from the database", async () => {
    await using node = openTestHub({ config: { deletes: true } });
    node.backend.values.set("a", "1");
    await node.cache.delete(keyOf("a"), null);
    expect(await loaded(node, "a")).toBeNull();
    expect(node.backend.loads).toEqual([]);
  });

  test("keeps keys away from the database that it is not for", async () => {
    await using node = openTestHub({ config: { keys: ["user:*", "order:?"] } });
    for (const key of ["user:1", "order:1", "order:10", "session:1"]) await put(node, key, "1");
    for (const key of ["user:2", "order:2", "order:20", "session:2"]) expect(await loaded(node, key)).toBeNull();
    await node.drained();
    expect([...node.backend.values.keys()].sort()).toEqual(["order:1", "user:1"]);
    expect(node.backend.loads.flat().sort()).toEqual(["order:2", "user:2"]);
  });

  test("gives the database's failures as what they are, never as absences", async () => {
    await using node = openTestHub();
    node.backend.isAway = true;
    const codes: (string | null)[] = [];
    for (let number = 0; number < 12; number++) codes.push(await loaded(node, `k${number}`));
    expect(codes).toEqual([...Array(10).fill("ERR_BACKEND_UNAVAILABLE"), ...Array(2).fill("ERR_BACKEND_BREAKER_OPEN")]);
    expect(node.hub.health().backend).toMatchObject({ status: "degraded", facts: { breaker: "open" } });
    node.backend.isAway = false;
    node.backend.values.set("k0", "1");
    await node.scheduler.advance(1_000);
    expect(await loaded(node, "k0")).toBe("1");
    expect(node.hub.health().backend).toMatchObject({ status: "ok", detail: "" });
  });

  test("ends a load that hangs at its time", async () => {
    await using node = openTestHub();
    const letGo = node.backend.hold();
    const late = loaded(node, "a");
    await node.scheduler.advance(1_000);
    expect(await late).toBe("ERR_BACKEND_TIMEOUT");
    letGo();
  });

  test("fills an engine that answers later before those who wait are answered", async () => {
    await using node = openTestHub({
      fills: (engine) => {
        const put = (request: PutRequest) => settled().then(() => engine.put(request));
        return Object.assign(new LateEngine(engine), { put });
      },
    });
    node.backend.values.set("count", "41");
    expect(await node.cache.increment(keyOf("count"), 1, null)).toEqual({ kind: "incremented", value: 42 });
  });

  test("knows when the outbox is nearly full, refuses when it is, and goes on when there is room", async () => {
    await using node = openTestHub({ outbox: { limitBytes: 4_000 } });
    node.backend.isAway = true;
    await put(node, "a", JSON.stringify("x".repeat(2_900)));
    expect(node.hub.health().outbox).toMatchObject({ status: "ok" });
    await put(node, "b", JSON.stringify("x".repeat(200)));
    expect(node.hub.health().outbox).toMatchObject({
      status: "degraded",
      detail: expect.stringContaining("full"),
    });
    await full(node);
    expect(node.stored("full")).toBeNull();
    node.backend.isAway = false;
    await node.scheduler.advance(20_000);
    expect(node.hub.health().outbox).toMatchObject({ status: "ok", facts: { bytes: 0 } });
    await put(node, "c", "1");
    expect(node.stored("c")).toBe("1");
  });

  test("shows, retries and drops what the database refuses for good", async () => {
    await using node = openTestHub();
    node.backend.refused.add("bad").add("worse");
    for (const key of ["bad", "worse", "good"]) await put(node, key, "1");
    await node.scheduler.advance(60_000);
    expect([...node.backend.values.keys()]).toEqual(["good"]);
    const dead = await node.hub.deadLetters(0, 10);
    expect(dead).toEqual(
      ["bad", "worse"].map((key) => ({
        id: expect.any(Number),
        key,
        kind: "put",
        valueBytes: 1,
        contentType: JSON_CONTENT_TYPE,
        attempts: 3,
        reason: "no such customer",
        queuedAtMs: expect.any(Number),
      })) as never,
    );
    expect(node.hub.health().backend?.facts).toMatchObject({ dead_letters: 2 });
    node.backend.refused.clear();
    expect(await node.hub.retryDead([dead[0]?.id ?? 0])).toBe(1);
    await node.drained();
    expect(node.backend.values.get("bad")).toBe("1");
    expect(await node.hub.dropDead(null)).toBe(1);
    expect(await node.hub.deadLetters(0, 10)).toEqual([]);
    expect(await node.hub.retryDead([dead[0]?.id ?? 0, 999])).toBe(0);
  });

  test("says how much it has not brought out when it stops", async () => {
    await using node = openTestHub();
    node.backend.isAway = true;
    await put(node, "a", "1");
    const drain = node.hub.drain(5_000);
    await node.scheduler.advance(5_000);
    await drain;
    expect(node.log).toEqual([
      "backend: degraded: writes wait in the outbox: away",
      "1 write has not reached the database: kept for the next start",
    ]);
  });

  test("brings out what waits at once when it stops", async () => {
    await using node = openTestHub({ config: { writeDelayMs: 3_600_000 } });
    await put(node, "a", "1");
    await node.hub.drain(5_000);
    expect([node.backend.values.get("a"), node.log]).toEqual(["1", []]);
  });
});

describe("a hub that writes through", () => {
  test("answers when the database has the write, not before", async () => {
    await using node = openTestHub({ config: { writeMode: "through" } });
    const letGo = node.backend.hold();
    let isAnswered = false;
    const done = put(node, "a", "1").then(() => {
      isAnswered = true;
    });
    await node.scheduler.advance(WRITE_DELAY_MS);
    expect([isAnswered, node.stored("a")]).toEqual([false, null]);
    letGo();
    await done;
    expect([node.backend.values.get("a"), node.stored("a")]).toEqual(["1", "1"]);
  });

  test("shows the database's value, and no other, while a write may still be refused", async () => {
    await using node = openTestHub({ config: { writeMode: "through" } });
    node.backend.values.set("a", "0");
    node.backend.refused.add("a");
    const letGo = node.backend.hold("writes");
    const refused = put(node, "a", "1").catch((error) => error);
    await node.scheduler.advance(WRITE_DELAY_MS);
    expect([await loaded(node, "a"), node.stored("a")]).toEqual(["0", "0"]);
    letGo();
    expect(await refused).toMatchObject({ code: "ERR_BACKEND_REFUSED" });
    expect(await loaded(node, "a")).toBe("0");
  });

  test("does not keep what it loaded while a write was under way, whether its client still waits or not", async () => {
    await using node = openTestHub({ config: { writeMode: "through" } });
    for (const waitMs of [0, 10_000]) {
      node.backend.values.set("a", "0");
      const letGo = node.backend.hold("writes");
      const done = put(node, "a", "1").catch((error) => error);
      await node.scheduler.advance(waitMs === 0 ? 0 : waitMs - 1);
      expect(await loaded(node, "a")).toBe("0");
      const isRead = node.cache.get(keyOf("a"), new RecordingSink());
      expect(await isRead).toBe(true);
      await node.scheduler.advance(1);
      letGo();
      await done;
      await node.drained();
      expect(node.backend.values.get("a")).toBe("1");
      expect(await loaded(node, "a")).toBe("1");
      expect(node.stored("a")).toBe("1");
      await node.cache.delete(keyOf("a"), null);
    }
  });

  test("does not cache what was read before its client was told that a write is done later", async () => {
    await using node = openTestHub({ config: { writeMode: "through" } });
    node.backend.values.set("a", "0");
    const letWrite = node.backend.hold("writes");
    const letLoad = node.backend.hold();
    const late = put(node, "a", "1").catch((error) => error);
    await node.scheduler.advance(9_500);
    const read = loaded(node, "a");
    await node.scheduler.advance(500);
    expect(await late).toMatchObject({ code: "ERR_BACKEND_TIMEOUT", isKept: true });
    expect(await loaded(node, "a")).toBe("1");
    letLoad();
    expect(await read).toBe("1");
    expect([await loaded(node, "a"), node.stored("a")]).toEqual(["1", "1"]);
    letWrite();
  });

  test("applies writes of a key as the database has them, whoever is late", async () => {
    await using node = openTestHub({ config: { writeMode: "through" } });
    const older = { version: node.versions.next(), nodeId: NODE_ID };
    const newer = { version: node.versions.next(), nodeId: NODE_ID };
    const value = { bytes: Buffer.from("2"), contentType: JSON_CONTENT_TYPE };
    const common = { kind: "put", key: "a", value, expiresAtMs: NEVER, isReplicated: false } as const;
    await committed(node.hub, { ...common, stamp: newer });
    const request = { key: keyOf("a"), source: Buffer.from("1"), start: 0, end: 1, attributes: JSON_ATTRIBUTES };
    await node.engine.put({ ...request, expiresAtMs: NEVER, stamp: older, condition: null });
    expect(node.stored("a")).toBe("2");
  });

  test("gives the refusal to whoever asked, and keeps nothing", async () => {
    await using node = openTestHub({ config: { writeMode: "through" } });
    node.backend.refused.add("a");
    await expect(put(node, "a", "1")).rejects.toMatchObject({ code: "ERR_BACKEND_REFUSED", isKept: false });
    await node.drained();
    expect([node.stored("a"), await node.hub.deadLetters(0, 10), node.outbox.usedBytes]).toEqual([null, [], 0]);
  });

  test.each(["behind", "through"] as const)(
    "refuses keys that the database can't have, in mode %s",
    async (writeMode) => {
      await using node = openTestHub({ config: { writeMode, deletes: true } });
      node.backend.strange.add("a:b:c");
      const key = keyOf("a:b:c");
      const refused = { code: "ERR_BACKEND_KEY", isKept: false };
      await put(node, "other", "1");
      await expect(put(node, "a:b:c", "1")).rejects.toMatchObject(refused);
      await expect(putIn(node.cache, key, json("1"), 0, { kind: "absent" })).rejects.toMatchObject(refused);
      await expect(node.cache.increment(key, 1, null)).rejects.toMatchObject(refused);
      await expect(node.cache.delete(key, null)).rejects.toMatchObject(refused);
      expect(await node.cache.touch(key, 1_000, null)).toBe("absent");
      expect([await loaded(node, "a:b:c"), node.stored("a:b:c")]).toEqual([null, null]);
      // A peer's is for the cache alone; who deletes by pattern deletes it there, and the others in both.
      await put(node, "a:b:c", "2", 0, true);
      expect(node.stored("a:b:c")).toBe("2");
      await node.cache.deleteMatching(Glob.parse("*"));
      await node.drained();
      expect([node.stored("a:b:c"), [...node.backend.values.keys()], node.outbox.usedBytes]).toEqual([null, [], 0]);
      expect(node.backend.loads.flat()).toEqual([]);
      expect(node.backend.writes.flat()).not.toContain("a:b:c");
    },
  );

  test("says that it has no answer in time, writes later, and does not serve what is about to be replaced", async () => {
    await using node = openTestHub({ config: { writeMode: "through", writeTimeoutMs: 1_000 } });
    await put(node, "a", "1");
    node.backend.isAway = true;
    const late = put(node, "a", "2");
    late.catch(() => {});
    await node.scheduler.advance(1_000);
    await expect(late).rejects.toMatchObject({ code: "ERR_BACKEND_TIMEOUT", isKept: true });
    expect(node.stored("a")).toBeNull();
    expect(await loaded(node, "a")).toBe("2");
    node.backend.isAway = false;
    await node.scheduler.advance(20_000);
    expect(node.backend.values.get("a")).toBe("2");
  });

  test("shows nothing older than a write that was seen while it waited, though another took its place", async () => {
    await using node = openTestHub({ config: { writeMode: "through", writeTimeoutMs: 1_000 } });
    await put(node, "a", "1");
    node.backend.poison.add("a");
    const late = put(node, "a", "2");
    late.catch(() => {});
    await node.scheduler.advance(1_000);
    await expect(late).rejects.toMatchObject({ code: "ERR_BACKEND_TIMEOUT", isKept: true });
    expect(await loaded(node, "a")).toBe("2");
    const next = put(node, "a", "3");
    next.catch(() => {});
    await settled();
    // As an eviction does.
    const stamp = { version: node.versions.next(), nodeId: NODE_ID };
    await node.engine.delete({ key: keyOf("a"), stamp, condition: null, tombstoneUntilMs: NEVER });
    expect(await loaded(node, "a")).toBe("ERR_BACKEND_BUSY");
    await node.scheduler.advance(1_000);
    await expect(next).rejects.toMatchObject({ code: "ERR_BACKEND_TIMEOUT", isKept: true });
    expect(await loaded(node, "a")).toBe("3");
    node.backend.poison.clear();
    await node.scheduler.advance(20_000);
    expect([node.backend.values.get("a"), await loaded(node, "a")]).toEqual(["3", "3"]);
  });

  test("shows a load nothing that the next read does not see: a write that the database has and this node has not yet", async () => {
    await using node = openTestHub({ config: { writeMode: "through" } });
    node.backend.values.set("a", "0");
    const letLoad = node.backend.hold();
    const early = loaded(node, "a");
    await settled();
    node.backend.gate = Promise.resolve();
    await put(node, "a", "1");
    const letAnswer = node.backend.hold("writes");
    const next = put(node, "a", "2");
    await settled();
    node.backend.values.set("a", "2");
    letLoad();
    expect([await early, node.stored("a")]).toEqual(["1", "1"]);
    letAnswer();
    await next;
    expect(node.stored("a")).toBe("2");
  });

  test("does not make others wait for a write that waits", async () => {
    await using node = openTestHub({ config: { writeMode: "through" } });
    node.backend.poison.add("a");
    const waits = put(node, "a", "1");
    waits.catch(() => {});
    await settled();
    node.backend.poison.clear();
    await node.scheduler.advance(1_000);
    await waits;
    expect(node.backend.values.get("a")).toBe("1");
  });
});

describe("a hub that does not write", () => {
  test("leaves the database as it is, and serves what was written to the cache", async () => {
    await using node = openTestHub({ config: { writeMode: "none" } });
    await put(node, "a", "1");
    await node.drained();
    expect([node.backend.writes, node.stored("a"), node.outbox.usedBytes]).toEqual([[], "1", 0]);
  });

  test("does not lose a write to a load that finds nothing in the database", async () => {
    await using node = openTestHub({ config: { writeMode: "none" } });
    const { hub } = node;
    let early: Promise<string | null> = Promise.resolve(null);
    const commit = hub.commit.bind(hub);
    // The load begins after the write was noted and before it is put: another thread's GET.
    hub.commit = (mutation, completion) => {
      const isDone = commit(mutation, completion);
      early = loaded(node, "a");
      return isDone;
    };
    await put(node, "a", "1");
    await early;
    await settled();
    expect(node.stored("a")).toBe("1");
  });
});

describe("a hub that reloads ahead of expiry", () => {
  const config = { refreshAhead: 0.2, fillTtlMs: 10_000 };

  async function read(node: TestHub, key: string): Promise<string | null> {
    const sink = new RecordingSink();
    const found = await node.cache.get(keyOf(key), sink);
    await settled();
    return found ? sink.target.toString() : null;
  }

  test("brings the new value while the old one is served", async () => {
    await using node = openTestHub({ config });
    node.backend.values.set("a", "1");
    await loaded(node, "a");
    node.backend.values.set("a", "2");
    await node.scheduler.advance(7_999);
    expect(await read(node, "a")).toBe("1");
    expect(node.backend.loads).toHaveLength(1);
    await node.scheduler.advance(2);
    expect(await read(node, "a")).toBe("1");
    expect(node.backend.loads).toHaveLength(2);
    expect(await read(node, "a")).toBe("2");
    await node.scheduler.advance(7_000);
    expect(await read(node, "a")).toBe("2");
  });

  test("leaves the value where the database fails", async () => {
    await using node = openTestHub({ config });
    node.backend.values.set("a", "1");
    await loaded(node, "a");
    node.backend.isAway = true;
    await node.scheduler.advance(8_001);
    expect(await read(node, "a")).toBe("1");
    expect(await read(node, "a")).toBe("1");
  });

  test("does not take away what is in the cache alone", async () => {
    await using node = openTestHub({ config });
    await put(node, "a", "1", 1_000, true);
    expect(await read(node, "a")).toBe("1");
    expect(await read(node, "a")).toBe("1");
    expect(node.backend.loads).toEqual([["a"]]);
  });
});

describe("a hub that keeps values after their TTL", () => {
  const config = { staleIfErrorMs: 600_000, fillTtlMs: 1_000 };

  test("serves them for so long while the database fails, marked, and not when it answers", async () => {
    await using node = openTestHub({ config });
    node.backend.values.set("a", "1");
    await loaded(node, "a");
    node.backend.isAway = true;
    await node.scheduler.advance(1_000);
    expect(node.stored("a")).toBeNull();
    expect(await loaded(node, "a")).toBe("1 (stale)");
    expect(node.hub.stats().backend).toMatchObject({ stale_answers: 1 });
    node.backend.values.set("a", "2");
    node.backend.isAway = false;
    expect(await loaded(node, "a")).toBe("2");
    node.backend.isAway = true;
    await node.scheduler.advance(601_000);
    expect(await loaded(node, "a")).toBe("ERR_BACKEND_UNAVAILABLE");
  });

  test("serves written ones, too, and none that was deleted, one way or another", async () => {
    await using node = openTestHub({ config });
    for (const key of ["a", "b", "user:1", "user:2"]) await put(node, key, "1", 1_000);
    await node.drained();
    await node.cache.delete(keyOf("b"), null);
    await node.cache.deleteMatching(Glob.parse("user:*"));
    node.backend.isAway = true;
    await node.scheduler.advance(1_000);
    const answers = await Promise.all(["a", "b", "user:1", "user:2"].map((key) => loaded(node, key)));
    expect(answers).toEqual(["1 (stale)", ...Array(3).fill("ERR_BACKEND_UNAVAILABLE")]);
    await node.cache.clear();
    expect(await loaded(node, "a")).toBe("ERR_BACKEND_UNAVAILABLE");
  });

  test("never serves a write that was refused", async () => {
    await using node = openTestHub({ config, outbox: { limitBytes: 1_000 } });
    node.backend.isAway = true;
    await full(node);
    expect(await loaded(node, "full")).toBe("ERR_BACKEND_UNAVAILABLE");
  });

  test("never serves a write that was deleted before it was kept", async () => {
    await using node = openTestHub({ config: { ...config, writeMode: "through" } });
    const letGo = node.backend.hold();
    const kept = put(node, "a", "1", 1_000);
    await settled();
    const stamp = { version: node.versions.next(), nodeId: 9 };
    await committed(node.hub, { kind: "delete", key: "a", stamp, isReplicated: true });
    letGo();
    await kept;
    node.backend.isAway = true;
    await node.scheduler.advance(1_000);
    expect(await loaded(node, "a")).toBe("ERR_BACKEND_UNAVAILABLE");
  });

  test("never serves what a pattern delete covers that is still walking", async () => {
    await using node = openTestHub({
      config,
      stale: (engine) => Object.assign(engine, { deleteMatching: () => new Promise<number>(() => {}) }),
    });
    node.backend.values.set("a", "1");
    await loaded(node, "a");
    node.backend.isAway = true;
    await node.cache.deleteMatching(Glob.parse("a*"));
    expect(await loaded(node, "a")).toBe("ERR_BACKEND_UNAVAILABLE");
  });

  test("forgets what the database says it no longer has", async () => {
    await using node = openTestHub({ config: { ...config, negativeTtlMs: 0 } });
    node.backend.values.set("a", "1");
    await loaded(node, "a");
    node.backend.values.delete("a");
    await node.scheduler.advance(1_000);
    expect(await loaded(node, "a")).toBeNull();
    node.backend.isAway = true;
    expect(await loaded(node, "a")).toBe("ERR_BACKEND_UNAVAILABLE");
  });
});
