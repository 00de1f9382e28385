import { describe, expect, test } from "bun:test";
import type { OutboxEntry } from "../../src/outbox/entry.ts";
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
    nowMs: () => scheduler.nowMs(),
    rows: { isInvalidated: () => false, isUnsureForGood: () => false },
  });
  const waiting = () => outbox.pendingValue(unplacedOf(PEER), "k")?.kind;
  return { outbox, entry, unplaced, waiting, [Symbol.dispose]: () => opened[Symbol.dispose]() };
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
    await until("it is outdated", () => at.waiting() === "invalidate");
    expect(at.outbox.counts(PEER).pending).toBe(1);
  });
});
