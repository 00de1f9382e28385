import { describe, expect, test } from "bun:test";
import { versionAt } from "../../src/model/hybrid-clock.ts";
import { toVersion } from "../../src/model/stamp.ts";
import { IncomingSessions } from "../../src/replication/incoming-sessions.ts";
import { RecoveryHorizon } from "../../src/replication/recovery-horizon.ts";
import { MessageHead } from "../../src/replication/wire/message-head.ts";
import { ManualScheduler } from "../support/manual-scheduler.ts";

const START = Date.UTC(2026, 0, 1);
const MAX_SKEW_MS = 30_000;
const UNHEARD_SKEW_MS = 1000;

/** A node with a new disk and two peers, whose ids it has yet to learn. */
function newNode() {
  const scheduler = new ManualScheduler(START);
  const sessions = new IncomingSessions();
  const peerIds: (number | null)[] = [null, null];
  const horizon = new RecoveryHorizon({
    ...{ scheduler, sessions, maxSkewMs: MAX_SKEW_MS, unheardSkewMs: UNHEARD_SKEW_MS, peerIds: () => peerIds },
    ...{ lastVersion: toVersion(0), seenVersion: toVersion(0) },
  });
  const hear = (id: number, newest: number) => {
    const session = sessions.get(id) ?? sessions.greet(id, 1, 1);
    const told = { at: null as number | null };
    const head = MessageHead.parse(JSON.stringify({ clock: scheduler.nowMs(), newest }));
    void horizon.horizonOf(session, head).then((version) => {
      told.at = version;
    });
    return told;
  };
  return { scheduler, peerIds, horizon, hear };
}

describe("how far back a node with a new disk knows nothing", () => {
  test("is known when all peers that start with it were heard, and what comes before that waits", async () => {
    const { scheduler, peerIds, hear } = newNode();
    const first = hear(1, 0);
    peerIds[0] = 1;
    await scheduler.advance(50);
    expect(first.at).toBeNull();
    peerIds[1] = 2;
    const second = hear(2, 0);
    await scheduler.advance(10);
    expect([first.at, second.at]).toEqual([0, 0]);
  });

  test("is the newest that one of them has ever delivered", async () => {
    const { scheduler, peerIds, hear } = newNode();
    peerIds.splice(0, 2, 1, 2);
    const newest = versionAt(START - 5000);
    const first = hear(1, 0);
    hear(2, newest);
    await scheduler.advance(10);
    expect(first.at).toBe(newest);
  });

  test("is a little after its start where one of them is not heard, which is waited for once", async () => {
    const { scheduler, peerIds, hear, horizon } = newNode();
    peerIds[0] = 1;
    const first = hear(1, 0);
    await scheduler.advance(990);
    expect(first.at).toBeNull();
    await scheduler.advance(10);
    expect(first.at).toBe(versionAt(START + UNHEARD_SKEW_MS));
    const later = hear(1, 0);
    await scheduler.advance(0);
    expect(later.at).toBe(versionAt(START + UNHEARD_SKEW_MS));
    expect(horizon.isComplete).toBe(false);
  });

  test("is everything, for a peer whose clock is apart", async () => {
    const { scheduler, horizon } = newNode();
    const session = new IncomingSessions().greet(1, 1, 1);
    const head = MessageHead.parse(JSON.stringify({ clock: START - MAX_SKEW_MS - 1, newest: 0 }));
    expect(await horizon.horizonOf(session, head)).toBe(toVersion(Number.MAX_SAFE_INTEGER));
    expect(scheduler.nextInMs()).toBeNull();
  });
});
