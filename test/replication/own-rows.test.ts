/** How far a disk is trusted that was new when its node had not heard its peers yet. */

import { expect, test } from "bun:test";
import { RecentInvalidations } from "../../src/cache/recent-invalidations.ts";
import { toVersion } from "../../src/model/stamp.ts";
import type { OutboxEntry } from "../../src/outbox/entry.ts";
import { NodeState } from "../../src/replication/node-state.ts";
import { OwnRows } from "../../src/replication/own-rows.ts";
import { tempFolder } from "../support/temp-folder.ts";
import { openTestOutbox, put } from "../support/test-outbox.ts";

const DESTINATION = "peer:http://b:1";
const BOUND = toVersion(1000);
const PUT: OutboxEntry = {
  ...put("x", "1", 500, DESTINATION),
  ...{ id: 1, attempts: 0, queuedAtMs: 0 },
};

/** One life of a node: all that is kept is its outbox. */
function lifeOn({ outbox }: ReturnType<typeof openTestOutbox>) {
  const horizon = { isComplete: false, lostUntil: BOUND };
  const rows = new OwnRows({
    ...{
      outbox,
      state: new NodeState(outbox),
      horizon,
      destinations: [DESTINATION],
      invalidations: RecentInvalidations.create(),
    },
    ...{ restore: () => null, letOthersRun: async () => {}, nowMs: () => 0 },
  });
  return { rows, horizon };
}

test("a put of a node that was restarted before it had heard its peers is trusted when they say that it knew nothing", () => {
  using folder = tempFolder();
  using opened = openTestOutbox(folder.path);
  lifeOn(opened);
  const { rows, horizon } = lifeOn(opened);
  expect([rows.areSure([PUT]), rows.isUnsureForGood(PUT)]).toEqual([false, false]);
  Object.assign(horizon, { isComplete: true, lostUntil: toVersion(0) });
  expect([rows.areSure([PUT]), rows.isUnsureForGood(PUT)]).toEqual([true, false]);
});

test("what the peers have said is on the disk before it is noted there what was seen", async () => {
  using folder = tempFolder();
  using opened = openTestOutbox(folder.path);
  const first = lifeOn(opened);
  Object.assign(first.horizon, { isComplete: true, lostUntil: toVersion(0) });
  await first.rows.note([]);
  new NodeState(opened.outbox).noteSeen(600);
  expect(lifeOn(opened).rows.areSure([PUT])).toBe(true);
});

test("what a lost disk may have known more of stays unsure, through any number of starts", async () => {
  using folder = tempFolder();
  using opened = openTestOutbox(folder.path);
  lifeOn(opened);
  const second = lifeOn(opened);
  Object.assign(second.horizon, { isComplete: true, lostUntil: toVersion(700) });
  await second.rows.note([]);
  new NodeState(opened.outbox).noteSeen(800);
  const { rows } = lifeOn(opened);
  expect([rows.areSure([PUT]), rows.isUnsureForGood(PUT)]).toEqual([false, true]);
});
