/** A touch waits with the put that it changed, and stands for it: in memory, in the table, and while either is in flight. */
import { describe, expect, test } from "bun:test";
import { hasValue, type Mutation } from "../../src/model/mutation.ts";
import { toVersion } from "../../src/model/stamp.ts";
import { type OutboxRow, rowOf } from "../../src/outbox/entry.ts";
import type { Outbox } from "../../src/outbox/outbox.ts";
import { tempFolder } from "../support/temp-folder.ts";
import { openTestOutbox, put, takeAll } from "../support/test-outbox.ts";

const PEER = "peer:http://b:1";
const PUT = put("k", "1", 10, PEER);

function touch(version: number): OutboxRow {
  const touched = { version: toVersion(version), nodeId: 2 };
  return rowOf(PEER, { ...PUT.mutation, kind: "touch", expiresAtMs: version, touch: touched });
}

/** What waits: the put, or the version of its touch. */
function waiting(outbox: Outbox): string | number | null {
  const mutation = outbox.pendingValue(PEER, "k");
  if (mutation === null) return null;
  expect(hasValue(mutation) && mutation.value.bytes.toString()).toBe("1");
  return shownOf(mutation);
}

function shownOf(mutation: Mutation): string | number {
  return mutation.kind === "touch" ? mutation.touch.version : mutation.kind;
}

/** Moves what waits from memory to the table, as a row that was tried does. */
async function toTable(outbox: Outbox): Promise<void> {
  const [entry] = takeAll(outbox, PEER);
  if (entry === undefined) throw new Error("nothing was taken");
  await outbox.settle([{ kind: "postponed", entry, reason: "later", dueAtMs: 0 }]);
}

describe.each([
  ["in memory", async () => {}],
  ["in the table", toTable],
])("%s", (_, place) => {
  test.each([
    ["a touch stands for its put", [PUT, touch(20)], 20],
    ["a put does not undo its touch", [touch(20), PUT], 20],
    ["a newer touch stands for an older", [touch(20), touch(30)], 30],
    ["an older touch does not undo a newer", [touch(30), touch(20)], 30],
    ["a newer put stands for a touched one", [touch(30), put("k", "1", 11, PEER)], "put"],
    ["a touch of an older put changes nothing", [put("k", "1", 11, PEER), touch(30)], "put"],
  ] as const)("%s", async (_name, rows, left) => {
    using folder = tempFolder();
    using at = openTestOutbox(folder.path);
    for (const [index, row] of rows.entries()) {
      await at.outbox.append([row]);
      if (index === 0) await place(at.outbox);
    }
    expect([waiting(at.outbox), at.outbox.counts(PEER).pending]).toEqual([left, 1]);
  });

  test.each([
    ["the put", PUT, touch(20)],
    ["an older touch", touch(20), touch(30)],
  ] as const)("a touch that comes while %s is in flight waits for its own turn", async (_name, first, second) => {
    using folder = tempFolder();
    using at = openTestOutbox(folder.path);
    await at.outbox.append([first]);
    await place(at.outbox);
    const [entry] = takeAll(at.outbox, PEER);
    if (entry === undefined) throw new Error("nothing was taken");
    await at.outbox.append([second]);
    await at.outbox.settle([{ kind: "done", entry }]);
    expect([waiting(at.outbox), at.outbox.counts(PEER).pending]).toEqual([shownOf(second.mutation), 1]);
  });
});
