import { describe, expect, test } from "bun:test";
import { JSON_CONTENT_TYPE, NEVER } from "../../src/model/entry.ts";
import { toVersion } from "../../src/model/stamp.ts";
import type { OutboxEntry, OutboxRow } from "../../src/outbox/entry.ts";
import { KeyFilter } from "../../src/replication/key-filter.ts";
import { PeerQueue } from "../../src/replication/peer-queue.ts";
import { destinationOf, unplacedOf } from "../../src/replication/peer-rows.ts";
import { UnplacedPuts } from "../../src/replication/unplaced-puts.ts";
import { tempFolder } from "../support/temp-folder.ts";
import { openTestOutbox, put, takeAll } from "../support/test-outbox.ts";
import { until } from "../support/until.ts";

const PEER = destinationOf("http://b:1");

/** A put that was sent to a peer, which could not place it. */
async function unplacedPut(folder: string) {
  const opened = openTestOutbox(folder);
  const { outbox, scheduler } = opened;
  await outbox.append([put("k", "old", 1, PEER)]);
  const [entry] = takeAll(outbox, PEER);
  if (entry === undefined) throw new Error("nothing was taken");
  const unplaced = new UnplacedPuts({
    ...{ outbox, destination: PEER, pauseMs: 1000 },
    scheduler,
    rows: { isInvalidated: () => false, isUnsureForGood: () => false },
  });
  const queue = new PeerQueue({
    ...{ outbox, destination: PEER, filter: new KeyFilter([]), limitBytes: 1e9, limitKeys: 1e9, backlogRows: 1000 },
    nowMs: () => scheduler.nowMs(),
    nextStamp: () => ({ version: toVersion(1000), nodeId: 1 }),
  });
  const waiting = () => outbox.pendingValue(unplacedOf(PEER), "k")?.kind;
  return { outbox, scheduler, entry, unplaced, queue, waiting, [Symbol.dispose]: () => opened[Symbol.dispose]() };
}

type Moved = Awaited<ReturnType<typeof unplacedPut>>;

const move = ({ outbox, unplaced }: Moved, entry: OutboxEntry) => outbox.settle([unplaced.settle(entry)]);
const write = ({ outbox }: Moved) => outbox.append([put("k", "new", 2, PEER)]);

describe("a put that a peer could not place", () => {
  test("waits in a queue of its own", async () => {
    using folder = tempFolder();
    using at = await unplacedPut(folder.path);
    await move(at, at.entry);
    expect([at.waiting(), at.outbox.counts(PEER).pending]).toEqual(["put", 0]);
  });

  test.each([
    ["a moment before", [write, move]],
    ["a moment after", [move, write]],
  ])("is outdated there by a write that came %s, in the same commit", async (_, [first, second]) => {
    using folder = tempFolder();
    using at = await unplacedPut(folder.path);
    await Promise.all([first?.(at, at.entry), second?.(at, at.entry)]);
    await until("it is outdated", () => at.waiting() === "outdated");
    expect(at.outbox.counts(PEER).pending).toBe(1);
    // The peer can't place the newer one either.
    const [newer] = takeAll(at.outbox, PEER);
    if (newer === undefined) throw new Error("nothing was taken");
    await move(at, newer);
    await until("it waits there", () => at.waiting() === "put");
    expect(at.outbox.pendingValue(unplacedOf(PEER), "k")).toMatchObject({ value: { bytes: Buffer.from("new") } });
  });

  test("makes way for the next put of its key, which the peer can't place either", async () => {
    using folder = tempFolder();
    using at = await unplacedPut(folder.path);
    await move(at, at.entry);
    const rows: OutboxRow[] = [];
    const value = { bytes: Buffer.from("new"), contentType: JSON_CONTENT_TYPE };
    const next = { kind: "put", key: "k", value, expiresAtMs: NEVER } as const;
    at.queue.addRowsOf({ ...next, stamp: { version: toVersion(2), nodeId: 1 } }, false, rows);
    await at.outbox.append(rows);
    expect(at.waiting()).toBe("outdated");
    const [newer] = takeAll(at.outbox, PEER);
    if (newer === undefined) throw new Error("nothing was taken");
    await move(at, newer);
    await until("it waits there", () => at.waiting() === "put");
  });

  test.each([-3_600_000, 3_600_000])("is sent again after the pause, where the clock is set by %i ms", async (ms) => {
    using folder = tempFolder();
    using at = await unplacedPut(folder.path);
    await move(at, at.entry);
    const sent = at.unplaced.take(1, 1e9);
    expect(sent.map(({ key }) => key)).toEqual(["k"]);
    await at.outbox.settle(sent.map((entry) => at.unplaced.settle(entry)));
    at.scheduler.jump(ms);
    await at.scheduler.advance(999);
    expect(at.unplaced.take(1, 1e9)).toEqual([]);
    await at.scheduler.advance(1);
    expect(at.unplaced.take(1, 1e9)).toHaveLength(1);
  });
});
