import { describe, expect, test } from "bun:test";
import { cpSync } from "node:fs";
import { type OutboxEntry, rowOf, type Settlement } from "../../src/outbox/entry.ts";
import type { Outbox } from "../../src/outbox/outbox.ts";
import { OutboxFullError } from "../../src/outbox/outbox-errors.ts";
import { tempFolder } from "../support/temp-folder.ts";
import { openTestOutbox, put, remove, shown, takeAll } from "../support/test-outbox.ts";

const done = (entry: OutboxEntry): Settlement => ({ kind: "done", entry });
const refused = (entry: OutboxEntry, dueAtMs: number | null): Settlement => ({
  kind: "refused",
  entry,
  reason: "no such customer",
  dueAtMs,
});
const pendingText = (outbox: Outbox, key: string) => {
  const pending = outbox.pendingValue("backend", key);
  return pending === null ? null : shown(rowOf("backend", pending));
};

describe("what waits", () => {
  test("what was appended is taken in the order in which it was queued", async () => {
    using folder = tempFolder();
    using opened = openTestOutbox(folder.path);
    const { outbox } = opened;
    await outbox.append([put("a", "1", 1), put("b", "2", 2)]);
    await outbox.append([remove("c", 3)]);
    expect(takeAll(outbox).map(shown)).toEqual(["a=1@1", "b=2@2", "c=deleted@3"]);
    expect(takeAll(outbox)).toEqual([]);
  });

  test("of a key, only the newest mutation waits, however they arrive", async () => {
    using folder = tempFolder();
    using opened = openTestOutbox(folder.path);
    const { outbox } = opened;
    await outbox.append([put("a", "1", 1), put("a", "3", 3), put("a", "2", 2)]);
    await outbox.append([put("a", "older", 1), put("b", "1", 9)]);
    await outbox.append([remove("b", 10)]);
    expect(outbox.stats("backend").pending).toBe(2);
    expect(takeAll(outbox).map(shown)).toEqual(["a=3@3", "b=deleted@10"]);
  });

  test("destinations have queues of their own", async () => {
    using folder = tempFolder();
    using opened = openTestOutbox(folder.path);
    const { outbox } = opened;
    await outbox.append([put("a", "1", 1), put("a", "1", 1, "peer:x")]);
    expect(takeAll(outbox).length).toBe(1);
    expect(outbox.stats("peer:x")).toMatchObject({ pending: 1, inFlight: 0 });
    outbox.forget("peer:x");
    expect(takeAll(outbox, "peer:x")).toEqual([]);
    expect(outbox.stats("peer:x")).toMatchObject({ pending: 0, bytes: 0 });
  });

  test("a key that is written all the time keeps its place in the queue", async () => {
    using folder = tempFolder();
    using opened = openTestOutbox(folder.path);
    const { outbox, scheduler } = opened;
    await outbox.append([put("hot", "1", 1)]);
    scheduler.jump(100);
    await outbox.append([put("other", "1", 2)]);
    await outbox.append([put("hot", "2", 3)]);
    const until = scheduler.nowMs() - 50;
    const taken = outbox.take("backend", { limitEntries: 10, limitBytes: 1e9, queuedUntilMs: until });
    expect(taken.map(shown)).toEqual(["hot=2@3"]);
  });

  test("a clock that was set back an hour holds nothing up", async () => {
    using folder = tempFolder();
    using opened = openTestOutbox(folder.path);
    const { outbox, scheduler } = opened;
    await outbox.append([put("a", "1", 1)]);
    scheduler.jump(-3_600_000);
    await outbox.append([put("b", "1", 2)]);
    scheduler.jump(100);
    const until = scheduler.nowMs() - 100;
    const taken = outbox.take("backend", { limitEntries: 10, limitBytes: 1e9, queuedUntilMs: until });
    expect(taken.map(shown)).toEqual(["a=1@1", "b=1@2"]);
  });

  test("a clock that was set back an hour does not hold up what is to be tried again", async () => {
    using folder = tempFolder();
    using opened = openTestOutbox(folder.path);
    const { outbox, scheduler } = opened;
    await outbox.append([put("a", "1", 1)]);
    for (const entry of takeAll(outbox)) await outbox.settle([refused(entry, scheduler.nowMs() + 30_000)]);
    scheduler.jump(10_000);
    expect(takeAll(outbox)).toEqual([]);
    scheduler.jump(-3_600_000);
    expect(takeAll(outbox).map(shown)).toEqual(["a=1@1"]);
  });

  test("a batch ends at its bounds of entries and bytes", async () => {
    using folder = tempFolder();
    using opened = openTestOutbox(folder.path);
    const { outbox } = opened;
    const value = "x".repeat(10_000);
    await outbox.append(Array.from({ length: 10 }, (_, i) => put(`k${i}`, value, i + 1)));
    expect(outbox.take("backend", { limitEntries: 3, limitBytes: 1e9, queuedUntilMs: 1e15 }).length).toBe(3);
    expect(outbox.take("backend", { limitEntries: 10, limitBytes: 15_000, queuedUntilMs: 1e15 }).length).toBe(2);
    expect(takeAll(outbox).length).toBe(5);
  });

  test("values come back byte for byte, the empty one too", async () => {
    using folder = tempFolder();
    using opened = openTestOutbox(folder.path);
    const { outbox } = opened;
    const value = Buffer.from(Array.from({ length: 256 }, (_, i) => i));
    const { mutation } = put("a", "", 2);
    const binary = rowOf("backend", {
      ...mutation,
      value: { bytes: value, contentType: "image/x" },
      expiresAtMs: 1_900_000_000_000,
    });
    await outbox.append([binary, put("b", "", Number.MAX_SAFE_INTEGER)]);
    const [a, b] = takeAll(outbox);
    expect(a).toMatchObject(binary);
    expect(b?.mutation).toMatchObject({ kind: "put", value: { bytes: Buffer.alloc(0) } });
    expect(b?.mutation.stamp.version).toBe(Number.MAX_SAFE_INTEGER as never);
  });
});

describe("what is in flight", () => {
  test("what is done is gone, its bytes too", async () => {
    using folder = tempFolder();
    using opened = openTestOutbox(folder.path);
    const { outbox } = opened;
    await outbox.append([put("a", "1", 1), put("b", "2", 2)]);
    await outbox.settle(takeAll(outbox).map(done));
    expect(outbox.stats("backend")).toEqual({ pending: 0, dead: 0, bytes: 0, inFlight: 0, oldestAgeMs: 0 });
    expect(outbox.usedBytes).toBe(0);
  });

  test("a newer mutation waits until the older one is settled, and is not lost with it", async () => {
    using folder = tempFolder();
    using opened = openTestOutbox(folder.path);
    const { outbox } = opened;
    await outbox.append([put("a", "1", 1)]);
    const first = takeAll(outbox);
    await outbox.append([put("a", "2", 2)]);
    expect(takeAll(outbox)).toEqual([]);
    await outbox.settle(first.map(done));
    expect(takeAll(outbox).map(shown)).toEqual(["a=2@2"]);
  });

  test("what is released waits again, at its place", async () => {
    using folder = tempFolder();
    using opened = openTestOutbox(folder.path);
    const { outbox } = opened;
    await outbox.append([put("a", "1", 1), put("b", "2", 2)]);
    const [a] = takeAll(outbox, "backend", 1);
    if (a === undefined) throw new Error("nothing was taken");
    await outbox.settle([{ kind: "released", entry: a }]);
    expect(takeAll(outbox).map(shown)).toEqual(["a=1@1", "b=2@2"]);
  });

  test("settling late, after a newer mutation was refused, changes nothing of the newer", async () => {
    using folder = tempFolder();
    using opened = openTestOutbox(folder.path);
    const { outbox } = opened;
    await outbox.append([put("a", "1", 1)]);
    const [first] = takeAll(outbox);
    await outbox.append([put("a", "2", 2)]);
    if (first === undefined) throw new Error("nothing was taken");
    await outbox.settle([refused(first, null)]);
    expect(outbox.stats("backend")).toMatchObject({ pending: 1, dead: 0 });
    expect(takeAll(outbox).map(shown)).toEqual(["a=2@2"]);
  });

  test("what was refused comes again when it is due, and counts its attempts", async () => {
    using folder = tempFolder();
    using opened = openTestOutbox(folder.path);
    const { outbox, scheduler } = opened;
    await outbox.append([put("a", "1", 1)]);
    const [first] = takeAll(outbox);
    if (first === undefined) throw new Error("nothing was taken");
    await outbox.settle([refused(first, scheduler.nowMs() + 500)]);
    expect(takeAll(outbox)).toEqual([]);
    expect(outbox.nextDueAtMs("backend")).toBe(scheduler.nowMs() + 500);
    scheduler.jump(500);
    expect(takeAll(outbox).map((entry) => entry.attempts)).toEqual([1]);
  });
});

describe("dead letters", () => {
  async function withDead(outbox: Outbox, count: number): Promise<void> {
    await outbox.append(Array.from({ length: count }, (_, i) => put(`k${i}`, "1", i + 1)));
    await outbox.settle(takeAll(outbox).map((entry) => refused(entry, null)));
  }

  test("are listed by pages with their reason, and hold nothing up", async () => {
    using folder = tempFolder();
    using opened = openTestOutbox(folder.path);
    const { outbox } = opened;
    await withDead(outbox, 5);
    await outbox.append([put("fine", "1", 10)]);
    expect(takeAll(outbox).map((entry) => entry.key)).toEqual(["fine"]);
    const page = outbox.dead.list("backend", 0, 3);
    expect(page.map((letter) => letter.key)).toEqual(["k0", "k1", "k2"]);
    expect(page[0]).toMatchObject({ reason: "no such customer", attempts: 1, version: 1, valueBytes: 1, kind: "put" });
    expect(outbox.dead.list("backend", page[2]?.id ?? 0, 3).map((letter) => letter.key)).toEqual(["k3", "k4"]);
    expect(outbox.stats("backend")).toMatchObject({ pending: 1, dead: 5 });
  });

  test("can be retried and dropped, one by one", async () => {
    using folder = tempFolder();
    using opened = openTestOutbox(folder.path);
    const { outbox } = opened;
    await withDead(outbox, 3);
    const [first, second] = outbox.dead.list("backend", 0, 10).map((letter) => letter.id);
    expect(outbox.dead.retry("backend", [first ?? 0, 999])).toBe(1);
    expect(outbox.dead.drop("backend", [second ?? 0, first ?? 0])).toBe(1);
    expect(outbox.stats("backend")).toMatchObject({ pending: 1, dead: 1 });
    expect(takeAll(outbox).map(shown)).toEqual(["k0=1@1"]);
    expect(outbox.dead.list("backend", 0, 10).map((letter) => letter.key)).toEqual(["k2"]);
  });

  test("a newer mutation of the key takes the dead letter's place", async () => {
    using folder = tempFolder();
    using opened = openTestOutbox(folder.path);
    const { outbox } = opened;
    await withDead(outbox, 1);
    expect(pendingText(outbox, "k0")).toBeNull();
    await outbox.append([put("k0", "2", 2)]);
    expect(outbox.stats("backend")).toMatchObject({ pending: 1, dead: 0 });
    expect(takeAll(outbox).map(shown)).toEqual(["k0=2@2"]);
  });
});

describe("a key that waits", () => {
  test("is answered from the outbox from the commit on, in flight, and not after", async () => {
    using folder = tempFolder();
    using opened = openTestOutbox(folder.path);
    const { outbox } = opened;
    const appended = outbox.append([put("a", "1", 1)]);
    expect(pendingText(outbox, "a")).toBeNull();
    await appended;
    expect(pendingText(outbox, "a")).toBe("a=1@1");
    const taken = takeAll(outbox);
    expect(pendingText(outbox, "a")).toBe("a=1@1");
    const removed = outbox.append([remove("a", 2)]);
    expect(pendingText(outbox, "a")).toBe("a=1@1");
    await removed;
    expect(pendingText(outbox, "a")).toBe("a=deleted@2");
    await outbox.settle(taken.map(done));
    expect(pendingText(outbox, "a")).toBe("a=deleted@2");
    await outbox.settle(takeAll(outbox).map(done));
    expect(pendingText(outbox, "a")).toBeNull();
  });
});

describe("the bound", () => {
  test("a mutation without room is refused at once, and nothing of it is kept", async () => {
    using folder = tempFolder();
    using opened = openTestOutbox(folder.path, { limitBytes: 1_000 });
    const { outbox } = opened;
    await outbox.append([put("a", "x".repeat(500), 1)]);
    expect(() => outbox.append([put("b", "x".repeat(500), 2)])).toThrow(OutboxFullError);
    expect(pendingText(outbox, "b")).toBeNull();
    expect(takeAll(outbox).map((entry) => entry.key)).toEqual(["a"]);
  });

  test("appends that are not committed yet count too", async () => {
    using folder = tempFolder();
    using opened = openTestOutbox(folder.path, { limitBytes: 1_000 });
    const { outbox } = opened;
    const first = outbox.append([put("a", "x".repeat(500), 1)]);
    expect(() => outbox.append([put("b", "x".repeat(500), 2)])).toThrow("SERV_CACHE_OUTBOX_MAX");
    await first;
  });

  test("there is room again when something is done", async () => {
    using folder = tempFolder();
    using opened = openTestOutbox(folder.path, { limitBytes: 1_000 });
    const { outbox } = opened;
    await outbox.append([put("a", "x".repeat(500), 1)]);
    await outbox.settle(takeAll(outbox).map(done));
    await outbox.append([put("b", "x".repeat(500), 2)]);
    expect(outbox.stats("backend").pending).toBe(1);
  });
});

describe("after a restart", () => {
  test("everything that was not done waits again, with its counts", async () => {
    using folder = tempFolder();
    let bytes = 0;
    {
      using opened = openTestOutbox(folder.path);
      const { outbox } = opened;
      await outbox.append([put("a", "1", 1), put("b", "2", 2), put("c", "3", 3), put("d", "4", 4)]);
      const [a, b, c] = takeAll(outbox);
      if (a === undefined || b === undefined || c === undefined) throw new Error("too little was taken");
      await outbox.settle([done(a), refused(b, null), refused(c, opened.scheduler.nowMs() + 1000)]);
      bytes = outbox.usedBytes;
    }
    using opened = openTestOutbox(folder.path);
    expect(opened.outbox.warnings).toEqual([]);
    expect(opened.outbox.stats("backend")).toMatchObject({ pending: 2, dead: 1, inFlight: 0, bytes });
    expect(takeAll(opened.outbox).map(shown)).toEqual(["d=4@4"]);
    opened.scheduler.jump(1000);
    expect(takeAll(opened.outbox).map(shown)).toEqual(["c=3@3"]);
  });

  test("of a process that was killed, what was done does not come back", async () => {
    using folder = tempFolder();
    using copy = tempFolder();
    {
      using opened = openTestOutbox(folder.path);
      const { outbox } = opened;
      await outbox.append([put("a", "1", 1), put("b", "2", 2), put("c", "3", 3)]);
      const [a] = takeAll(outbox);
      if (a === undefined) throw new Error("nothing was taken");
      await outbox.settle([done(a)]);
      cpSync(folder.path, copy.path, { recursive: true });
    }
    using opened = openTestOutbox(copy.path);
    expect(opened.outbox.counts("backend").pending).toBe(2);
    expect(takeAll(opened.outbox).map(shown)).toEqual(["b=2@2", "c=3@3"]);
  });

  test("of a process that was killed, nothing comes back that a row of the table had replaced", async () => {
    using folder = tempFolder();
    using copy = tempFolder();
    {
      using opened = openTestOutbox(folder.path);
      const { outbox, scheduler } = opened;
      await outbox.append([put("a", "1", 1), put("b", "2", 2)]);
      const [a] = takeAll(outbox, "backend", 1);
      if (a === undefined) throw new Error("nothing was taken");
      // To the table, where the next write of its key takes its place …
      await outbox.settle([refused(a, scheduler.nowMs())]);
      scheduler.jump(1);
      await outbox.append([put("a", "new", 3)]);
      const all = takeAll(outbox);
      expect(all.map(shown).sort()).toEqual(["a=new@3", "b=2@2"]);
      await outbox.settle(all.filter(({ key }) => key === "a").map(done));
      cpSync(folder.path, copy.path, { recursive: true });
    }
    using opened = openTestOutbox(copy.path);
    expect(takeAll(opened.outbox).map(shown)).toEqual(["b=2@2"]);
  });

  test.each([
    ["done", 2],
    ["forgotten", 1],
  ])(
    "of a process that was killed, what has a row of the table stays, though a newer one of its key was %s before",
    async (what, rows) => {
      using folder = tempFolder();
      using copy = tempFolder();
      // What is too much in memory goes to the table.
      const options = { fresh: { rows, bytes: 1_000_000, ageMs: 5_000 } };
      {
        using opened = openTestOutbox(folder.path, options);
        const { outbox } = opened;
        await outbox.append([put("a", "newer", 2), put("x", "1", 1, "other")]);
        if (what === "done") await outbox.settle(takeAll(outbox).map(done));
        else outbox.forget("backend");
        await outbox.append([put("a", "older", 1)]);
        await outbox.append([put("b", "1", 1), put("c", "1", 1), put("d", "1", 1)]);
        cpSync(folder.path, copy.path, { recursive: true });
      }
      using opened = openTestOutbox(copy.path, options);
      const { outbox } = opened;
      expect(outbox.counts("backend").pending).toBe(4);
      expect(takeAll(outbox).map(shown).sort()).toEqual(["a=older@1", "b=1@1", "c=1@1", "d=1@1"]);
    },
  );

  test("of a process that was killed, what was forgotten does not come back", async () => {
    using folder = tempFolder();
    using copy = tempFolder();
    {
      using opened = openTestOutbox(folder.path);
      await opened.outbox.append([put("a", "1", 1), put("b", "2", 2, "other")]);
      opened.outbox.forget("backend");
      cpSync(folder.path, copy.path, { recursive: true });
    }
    using opened = openTestOutbox(copy.path);
    expect(opened.outbox.counts("backend").pending).toBe(0);
    expect(takeAll(opened.outbox, "other").map(shown)).toEqual(["b=2@2"]);
  });

  test("closing commits what was appended a moment before", async () => {
    using folder = tempFolder();
    {
      using opened = openTestOutbox(folder.path);
      void opened.outbox.append([put("a", "1", 1)]);
    }
    using opened = openTestOutbox(folder.path);
    expect(takeAll(opened.outbox).map(shown)).toEqual(["a=1@1"]);
  });
});

describe("one transaction", () => {
  test("the appends of one turn share a commit, and are told when it is done", async () => {
    using folder = tempFolder();
    const commits: (() => void)[] = [];
    using opened = openTestOutbox(folder.path, { defer: (run) => commits.push(run) });
    const { outbox } = opened;
    let settled = 0;
    const appends = Array.from({ length: 100 }, async (_, i) => {
      await outbox.append([put(`k${i}`, "1", i + 1)]);
      settled += 1;
    });
    expect(commits.length).toBe(1);
    expect(takeAll(outbox)).toEqual([]);
    // The group grew in the first turn, so that a second one is waited for.
    for (const run of commits) run();
    expect(commits.length).toBe(2);
    await Promise.all(appends);
    expect(settled).toBe(100);
    expect(takeAll(outbox).length).toBe(100);
  });

  test("those who listen are woken once per commit", async () => {
    using folder = tempFolder();
    using opened = openTestOutbox(folder.path);
    let woken = 0;
    opened.outbox.onQueued("backend", () => {
      woken += 1;
    });
    await Promise.all([opened.outbox.append([put("a", "1", 1)]), opened.outbox.append([put("b", "1", 2)])]);
    await opened.outbox.append([put("a", "1", 3, "peer:x")]);
    expect(woken).toBe(1);
  });
});
