import { describe, expect, test } from "bun:test";
import { JSON_CONTENT_TYPE, NEVER } from "../../src/model/entry.ts";
import type { Mutation } from "../../src/model/mutation.ts";
import { toVersion } from "../../src/model/stamp.ts";
import type { OutboxRow } from "../../src/outbox/entry.ts";
import type { OutboxOptions } from "../../src/outbox/outbox.ts";
import { KeyFilter } from "../../src/replication/key-filter.ts";
import { PeerQueue } from "../../src/replication/peer-queue.ts";
import { settled } from "../support/manual-scheduler.ts";
import { tempFolder } from "../support/temp-folder.ts";
import { openTestOutbox } from "../support/test-outbox.ts";

const DESTINATION = "peer:http://b:1";

function put(key: string, text: string, version: number): Mutation {
  const stamp = { version: toVersion(version), nodeId: 1 };
  const value = { bytes: Buffer.from(text), contentType: JSON_CONTENT_TYPE };
  return { kind: "put", key, value, expiresAtMs: NEVER, stamp, isReplicated: false };
}

function house(
  folder: string,
  settings: { keys?: string[]; limitBytes?: number; limitKeys?: number; backlogRows?: number } = {},
  options: Partial<OutboxOptions> = {},
) {
  const opened = openTestOutbox(folder, options);
  const { outbox } = opened;
  const { keys = [], limitBytes = 1e9, limitKeys = 1e9, backlogRows = 1000 } = settings;
  let newest = 1_000_000;
  const queue = new PeerQueue({
    outbox,
    destination: DESTINATION,
    filter: new KeyFilter(keys),
    nowMs: () => opened.scheduler.nowMs(),
    nextStamp: () => ({ version: toVersion(newest++), nodeId: 1 }),
    ...{ limitBytes, limitKeys, backlogRows },
  });
  outbox.onQueued(DESTINATION, () => queue.committed());
  const record = async (mutation: Mutation) => {
    const rows: OutboxRow[] = [];
    queue.addRowsOf(mutation, false, rows);
    if (rows.length > 0) await outbox.append(rows);
  };
  const take = (rows = 1000) => queue.take(rows, 1e9).map((entry) => shown(entry.mutation));
  return { ...opened, queue, record, take, [Symbol.dispose]: () => opened[Symbol.dispose]() };
}

function shown(mutation: Mutation): string {
  const { kind, stamp } = mutation;
  if (kind === "put") return `${mutation.key}=${mutation.value.bytes}@${stamp.version}`;
  return `${kind} ${kind === "invalidate" ? mutation.pattern : mutation.key}@${stamp.version}`;
}

describe("what waits for a peer", () => {
  test("is the newest of each key", async () => {
    using folder = tempFolder();
    using house1 = house(folder.path);
    await house1.record(put("a", "1", 1));
    await house1.record(put("b", "1", 2));
    await house1.record(put("a", "2", 3));
    await house1.record({ kind: "delete", key: "b", stamp: { version: toVersion(4), nodeId: 1 }, isReplicated: false });
    await house1.record({
      kind: "invalidate",
      pattern: "x*",
      stamp: { version: toVersion(5), nodeId: 1 },
      isReplicated: false,
    });
    await house1.record({
      kind: "invalidate",
      pattern: null,
      stamp: { version: toVersion(6), nodeId: 1 },
      isReplicated: false,
    });
    expect(house1.take()).toEqual(["a=2@3", "delete b@4", "invalidate x*@5", "invalidate null@6"]);
  });

  test("is what the filter takes; a clear clears that and no more", async () => {
    using folder = tempFolder();
    using filtered = house(folder.path, { keys: ["user:*", "s:*"] });
    await filtered.record(put("user:1", "1", 1));
    await filtered.record(put("other", "1", 2));
    await filtered.record({
      kind: "invalidate",
      pattern: null,
      stamp: { version: toVersion(3), nodeId: 1 },
      isReplicated: false,
    });
    expect(filtered.take()).toEqual(["user:1=1@1", "invalidate user:*@3", "invalidate s:*@3"]);
  });

  test("over the bound on bytes: which keys changed, without values", async () => {
    using folder = tempFolder();
    using tight = house(folder.path, { limitBytes: 400 });
    await tight.record(put("a", "x".repeat(300), 1));
    await tight.record(put("b", "2", 2));
    await tight.record(put("a", "3", 3));
    expect(tight.take()).toEqual(["outdated a@3", "outdated b@2"]);
    expect(tight.queue.valuesDropped).toBe(2);
  });

  test("over the bound on keys: one word about all that is older, newer than everything that waited", async () => {
    using folder = tempFolder();
    using tight = house(folder.path, { limitKeys: 3 });
    for (let key = 0; key < 4; key++) await tight.record(put(`k${key}`, "1", key + 1));
    await tight.record(put("after", "1", 2_000_000));
    expect(tight.take()).toEqual(["invalidate null@1000000", "after=1@2000000"]);
    expect(tight.queue.collapses).toBe(1);
  });

  test("gives way before the outbox is full: writes are not refused because of a peer", async () => {
    using folder = tempFolder();
    using tight = house(folder.path, { backlogRows: 10 }, { limitBytes: 100_000 });
    for (let key = 0; key < 2000; key++) await tight.record(put(`k${key}`, "1", key + 1));
    expect(tight.queue.collapses).toBeGreaterThan(0);
    expect(tight.outbox.usedBytes).toBeLessThan(100_000);
  });

  test("behind a backlog, what is fresh goes first, and the backlog goes on", async () => {
    using folder = tempFolder();
    using behind = house(folder.path, { backlogRows: 5 });
    for (let key = 0; key < 20; key++) await behind.record(put(`old${key}`, "1", key + 1));
    behind.scheduler.jump(2000);
    await behind.record(put("fresh", "1", 100));
    await behind.record(put("old19", "2", 101));
    const first = behind.take(8);
    expect(first).toContain("fresh=1@100");
    const second = behind.take(8);
    const third = behind.take(8);
    expect([...first, ...second, ...third].sort()).toEqual(
      [...Array.from({ length: 19 }, (_, key) => `old${key}=1@${key + 1}`), "fresh=1@100", "old19=2@101"].sort(),
    );
    await settled();
  });
});
