import { describe, expect, test } from "bun:test";
import { JSON_CONTENT_TYPE, NEVER } from "../../src/model/entry.ts";
import { HybridClock } from "../../src/model/hybrid-clock.ts";
import type { Mutation } from "../../src/model/mutation.ts";
import { toVersion } from "../../src/model/stamp.ts";
import type { OutboxRow } from "../../src/outbox/entry.ts";
import { KeyFilter } from "../../src/replication/key-filter.ts";
import { NodeIdentity } from "../../src/replication/node-identity.ts";
import { NodeState } from "../../src/replication/node-state.ts";
import { type Caller, PeerCallError } from "../../src/replication/peer-caller.ts";
import { PeerLink } from "../../src/replication/peer-link.ts";
import { PeerQueue } from "../../src/replication/peer-queue.ts";
import { DEFAULT_TUNING } from "../../src/replication/tuning.ts";
import {
  decodeMessage,
  encodeMessage,
  type Message,
  type MessageKind,
  PROTOCOL,
} from "../../src/replication/wire/message.ts";
import { settled } from "../support/manual-scheduler.ts";
import { tempFolder } from "../support/temp-folder.ts";
import { openTestOutbox } from "../support/test-outbox.ts";

const DESTINATION = "peer:http://b:1";
const MAX_SKEW_MS = 30_000;

/** Bytes that can't be compressed. */
function noise(seed: string, length: number): Buffer {
  const words = Array.from({ length: Math.ceil(length / 8) }, (_, at) => Bun.hash.wyhash(`${seed} ${at}`));
  return Buffer.from(new BigUint64Array(words.map(BigInt)).buffer).subarray(0, length);
}

function inForm(form: number): Buffer {
  const message = encodeMessage("answer", { protocol: form, id: 2, incarnation: 5, clock: 0 });
  message[1] = form;
  return message;
}

/** A link to a peer that the test plays. */
function house(folder: string, settings: { bytesPerSecond?: number } = {}) {
  const { outbox, scheduler, ...opened } = openTestOutbox(folder);
  const heard: string[] = [];
  const told: string[] = [];
  const peer = {
    isNative: true,
    hangs: false,
    skewMs: 0,
    id: 2,
    batchStatus: 200,
    plainStatus: 200,
    onAsked: () => {},
  };
  const other: { answers: (() => Promise<Message>) | null } = { answers: null };
  const answer = async (kind: MessageKind) => {
    heard.push(kind);
    peer.onAsked();
    if (peer.hangs) await new Promise(() => {});
    if (other.answers !== null) return other.answers();
    if (!peer.isNative) throw new PeerCallError("it answered 404", 404);
    if (kind === "batch" && peer.batchStatus !== 200) throw new PeerCallError("it does not", peer.batchStatus);
    const clock = scheduler.nowMs() + peer.skewMs;
    return decodeMessage(encodeMessage("answer", { protocol: PROTOCOL, id: peer.id, incarnation: 5, clock }));
  };
  const caller: Caller = {
    encode: encodeMessage,
    ask: answer,
    exchange: (message) => answer(decodeMessage(message).kind),
    async plain({ method, path }) {
      heard.push(`${method} ${path}`);
      if (peer.plainStatus !== 200) throw new PeerCallError("it does not", peer.plainStatus);
    },
  };
  const nowMs = () => scheduler.nowMs();
  const state = new NodeState(outbox);
  const queue = new PeerQueue({
    ...{ outbox, destination: DESTINATION, filter: new KeyFilter([]), nowMs },
    nextStamp: () => ({ version: clock.next(), nodeId: 1 }),
    ...{ limitBytes: 1e9, limitKeys: 1e9, backlogRows: 1000 },
  });
  const clock = HybridClock.create(nowMs);
  const link = new PeerLink({
    ...{
      name: "http://b:1",
      caller,
      queue,
      outbox,
      state,
      destination: DESTINATION,
      clock,
      scheduler,
    },
    node: new NodeIdentity(1, 3),
    random: () => 0.5,
    onLost: () => {},
    onStamp: () => {},
    knownUntil: () => toVersion(0),
    rows: { isInvalidated: () => false, isUnsureForGood: () => false },
    limits: { ...DEFAULT_TUNING, bytesPerSecond: 0, maxSkewMs: MAX_SKEW_MS, ...settings },
    log: (line) => void told.push(line),
  });
  const put = async (key: string, bytes = 1) => {
    const small = { bytes: Buffer.from("1"), contentType: JSON_CONTENT_TYPE };
    const value = bytes === 1 ? small : { bytes: noise(key, bytes), contentType: "application/octet-stream" };
    const stamp = { version: clock.next(), nodeId: 1 };
    const rows: OutboxRow[] = [];
    const mutation: Mutation = {
      ...{ kind: "put", key, value, expiresAtMs: NEVER, stamp },
    };
    queue.addRowsOf(mutation, false, rows);
    await outbox.append(rows);
    await settled();
  };
  return {
    link,
    outbox,
    scheduler,
    heard,
    told,
    peer,
    other,
    state,
    put,
    [Symbol.dispose]: () => opened[Symbol.dispose](),
  };
}

describe("a link", () => {
  test("to a peer that knew the plain calls alone becomes a native one when the peer has", async () => {
    using folder = tempFolder();
    using at = house(folder.path);
    at.peer.isNative = false;
    at.link.start();
    await at.put("a");
    expect([at.link.stats.state, at.heard]).toEqual(["legacy", ["hello", "POST /api/cache?replicated=true"]]);
    at.peer.isNative = true;
    await at.put("b");
    await at.scheduler.advance(20);
    expect(at.heard.slice(2)).toEqual(["POST /api/cache?replicated=true"]);
    await at.scheduler.advance(31_000);
    await at.put("c");
    await at.scheduler.advance(20);
    expect([at.link.stats.state, at.heard.slice(3, 4), at.heard.at(-1)]).toEqual(["up", ["hello"], "batch"]);
    await at.link.stop();
  });

  test("to such a peer says hello at once when a node of our kind shows itself", async () => {
    using folder = tempFolder();
    using at = house(folder.path);
    at.peer.isNative = false;
    at.link.start();
    await settled();
    at.peer.isNative = true;
    at.link.wake();
    await settled();
    expect([at.link.stats.state, at.link.isLegacy]).toEqual(["up", false]);
    await at.link.stop();
  });

  test.each([
    ["of our kind", true, false],
    ["of the original's kind", false, false],
    ["that hangs", true, true],
  ])("does not look at the queue of a peer %s more often than it has to", async (_, isNative, hangs) => {
    using folder = tempFolder();
    using at = house(folder.path);
    Object.assign(at.peer, { isNative });
    at.link.start();
    await settled();
    Object.assign(at.peer, { hangs });
    await at.put("a");
    await at.scheduler.advance(10_000);
    let looks = 0;
    const { outbox } = at;
    const nextDueAtMs = outbox.nextDueAtMs.bind(outbox);
    outbox.nextDueAtMs = (destination) => {
      looks += 1;
      return nextDueAtMs(destination);
    };
    await at.scheduler.advance(10_000);
    expect(looks).toBeLessThan(50);
    if (!hangs) await at.link.stop();
  });

  test.each([
    [
      "refuses our form",
      () =>
        Promise.reject(
          new PeerCallError("it answered 400: the message has protocol version 2, this node speaks 1", 400),
        ),
    ],
    ["answers in a form of its own", async () => decodeMessage(inForm(PROTOCOL - 1))],
    ["answers in a form to come", async () => decodeMessage(inForm(PROTOCOL + 1))],
  ])("to a peer that %s says so in one line, and counts nothing as delivered", async (_, answer) => {
    using folder = tempFolder();
    using at = house(folder.path);
    at.other.answers = answer;
    at.link.start();
    await at.put("a");
    for (let second = 0; second < 60; second++) await at.scheduler.advance(1000);
    const { state, lastError, mutations, batches } = at.link.stats;
    expect([state, mutations, batches, new Set(at.heard)]).toEqual(["down", 0, 0, new Set(["hello"])]);
    expect(lastError).toMatch(/^[^\n]*the message has protocol version \d+, this node speaks \d+[^\n]*$/);
    expect([at.outbox.counts(DESTINATION).pending, at.state.wasDelivered(DESTINATION)]).toEqual([1, false]);
    // It is upgraded.
    at.other.answers = null;
    for (let second = 0; second < 60; second++) await at.scheduler.advance(1000);
    expect([at.link.stats.state, at.outbox.counts(DESTINATION).pending]).toEqual(["up", 0]);
    await at.link.stop();
  });

  test.each([-3_600_000, 3_600_000])(
    "tries a peer that fails again after the pause, where the clock is set by %i ms",
    async (ms) => {
      using folder = tempFolder();
      using at = house(folder.path);
      at.peer.batchStatus = 503;
      at.link.start();
      await at.put("a");
      await at.scheduler.advance(2 * DEFAULT_TUNING.lingerMs);
      expect(at.link.stats.state).toBe("down");
      at.heard.length = 0;
      at.scheduler.jump(ms);
      await at.put("b");
      expect(at.heard).toEqual([]);
      at.peer.batchStatus = 200;
      await at.scheduler.advance(2 * DEFAULT_TUNING.backoffFirstMs + 2 * DEFAULT_TUNING.lingerMs);
      expect(at.outbox.counts(DESTINATION)).toMatchObject({ pending: 0 });
      await at.link.stop();
    },
  );

  test("measures the clock of the peer, also where its own is set during the call", async () => {
    using folder = tempFolder();
    using at = house(folder.path);
    at.link.start();
    await settled();
    at.peer.onAsked = () => at.scheduler.jump(3_600_000);
    await at.put("a");
    await at.scheduler.advance(2 * DEFAULT_TUNING.lingerMs);
    expect(at.link.stats.skewMs).toBe(0);
    await at.link.stop();
  });

  test("does not wait for the time that its clock had shown before it was set back", async () => {
    using folder = tempFolder();
    using at = house(folder.path);
    at.link.start();
    await settled();
    await at.put("a");
    at.scheduler.jump(-3_600_000);
    await at.put("b");
    await at.scheduler.advance(2 * DEFAULT_TUNING.lingerMs);
    expect(at.outbox.counts(DESTINATION)).toMatchObject({ pending: 0 });
    at.heard.length = 0;
    await at.scheduler.advance(DEFAULT_TUNING.heartbeatMs);
    expect(at.heard).toContain("batch");

    at.peer.isNative = false;
    await at.scheduler.advance(DEFAULT_TUNING.heartbeatMs);
    at.scheduler.jump(-3_600_000);
    at.peer.isNative = true;
    at.heard.length = 0;
    await at.put("c");
    await at.scheduler.advance(500);
    expect(at.outbox.counts(DESTINATION)).toMatchObject({ pending: 0 });
    await at.link.stop();
  });

  test("says when the clocks are too far apart", async () => {
    using folder = tempFolder();
    using at = house(folder.path);
    at.peer.skewMs = -MAX_SKEW_MS - 1000;
    at.link.start();
    await settled();
    expect(at.link.stats.skewMs).toBe(-31_000);
    expect(at.told).toEqual(["the clock of peer http://b:1 is -31000 ms apart from this node's"]);
    await at.link.stop();
  });

  test("sends no more than its bandwidth allows", async () => {
    using folder = tempFolder();
    using at = house(folder.path, { bytesPerSecond: 100_000 });
    at.link.start();
    await settled();
    for (let number = 0; number < 40; number++) {
      await at.put(`k${number}`, 30_000);
      await at.scheduler.advance(100);
    }
    const { bytes } = at.link.stats;
    const seconds = 4;
    // A full bucket to begin with, and a last batch that overdraws it.
    expect(bytes).toBeLessThan(100_000 * (seconds + 1) + 70_000);
    await at.link.stop();
  });

  test.each([
    ["answers every batch with 404", { batchStatus: 404 }],
    ["answers every batch with 409", { batchStatus: 409 }],
    ["answers everything with 404", { isNative: false, plainStatus: 404 }],
  ])("waits longer and longer for a peer that %s, also where that says hello itself", async (_, faults) => {
    using folder = tempFolder();
    using at = house(folder.path);
    Object.assign(at.peer, faults);
    at.link.start();
    await at.put("a");
    for (let second = 0; second < 60; second++) {
      await at.scheduler.advance(1000);
      at.link.wake();
      await settled();
    }
    expect(at.heard.filter((call) => call !== "hello").length).toBeLessThan(25);
    expect(at.link.stats.state).toBe("down");
    Object.assign(at.peer, { isNative: true, batchStatus: 200, plainStatus: 200 });
    await at.scheduler.advance(15_000);
    expect([at.link.stats.state, at.outbox.counts(DESTINATION).pending]).toEqual(["up", 0]);
    await at.link.stop();
  });

  test("says so when one address leads to several nodes, and not when a node was replaced", async () => {
    using folder = tempFolder();
    using at = house(folder.path);
    at.link.start();
    await at.put("a");
    const answersAs = async (id: number) => {
      Object.assign(at.peer, { id, batchStatus: 409 });
      await at.put(`of ${id}`);
      await at.scheduler.advance(20);
      at.peer.batchStatus = 200;
      await at.scheduler.advance(15_000);
    };
    await answersAs(3);
    expect([at.link.peerId, at.link.stats.problem]).toEqual([3, ""]);
    await answersAs(2);
    expect(at.link.stats.problem).toContain("ids 2, 3");
    await at.link.stop();
  });

  test("measures the peer's clock again with every answer", async () => {
    using folder = tempFolder();
    using at = house(folder.path);
    at.link.start();
    await at.put("a");
    at.peer.skewMs = 45_000;
    await at.scheduler.advance(2000);
    expect([at.link.stats.skewMs, at.told.filter((line) => line.includes("clock")).length]).toEqual([45_000, 1]);
    await at.link.stop();
  });
});
