import { afterEach, describe, expect, test } from "bun:test";
import { RecentInvalidations } from "../../src/cache/recent-invalidations.ts";
import type { Engine } from "../../src/engine/engine.ts";
import { MemoryEngine } from "../../src/engine/memory/memory-engine.ts";
import { JSON_ATTRIBUTES, JSON_CONTENT_TYPE, NEVER } from "../../src/model/entry.ts";
import { HybridClock, versionAt } from "../../src/model/hybrid-clock.ts";
import type { KeyPattern } from "../../src/model/matcher.ts";
import type { Mutation, PutMutation } from "../../src/model/mutation.ts";
import { toVersion } from "../../src/model/stamp.ts";
import { MESSAGE_TYPE } from "../../src/replication/peer-caller.ts";
import { Replication } from "../../src/replication/replication.ts";
import type { PeerRequest, PeerResponse } from "../../src/replication/transport.ts";
import { decodeMessage, encodeMessage, type HeadMembers, PROTOCOL } from "../../src/replication/wire/message.ts";
import { CollectingSink, keyOf } from "../support/collecting-sink.ts";
import { DoubtfulEngine } from "../support/doubtful-engine.ts";
import { settled } from "../support/manual-scheduler.ts";
import { PlainEngine } from "../support/plain-engine.ts";
import { type TempFolder, tempFolder } from "../support/temp-folder.ts";
import { openTestOutbox } from "../support/test-outbox.ts";

const PEER = "http://b:1";
const SENDER = { id: 2, incarnation: 9 };

const closing: (() => Promise<void>)[] = [];

afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

/** A node on an engine that may be away, whose one peer the test plays. */
function house(folder: TempFolder = tempFolder(), below?: (nowMs: () => number) => Engine) {
  const { outbox, scheduler, ...opened } = openTestOutbox(folder.path);
  const nowMs = () => scheduler.nowMs();
  const engine = new DoubtfulEngine(below?.(nowMs) ?? new PlainEngine(nowMs));
  const clock = HybridClock.create(nowMs);
  const peer: { answer: (message: ReturnType<typeof decodeMessage>) => HeadMembers } = { answer: () => ({}) };
  const replication = new Replication({
    ...{ nodeId: 1, peers: [PEER], token: null, keys: [], maxSkewMs: 30_000, tombstoneMs: 600_000, bootstrap: "none" },
    ...{ bootstrapTimeoutMs: 0, compareEveryMs: 0, queueLimitBytes: 1e9, queueLimitKeys: 1e9, bytesPerSecond: 0 },
    ...{ outbox, engine, clock, scheduler, invalidations: RecentInvalidations.create() },
    random: () => 0.5,
    transport: {
      async call(_: unknown, { body }: PeerRequest): Promise<PeerResponse> {
        const signature = { protocol: PROTOCOL, ...SENDER, clock: nowMs() };
        const told = peer.answer(decodeMessage(body ?? Buffer.alloc(0)));
        return { status: 200, body: encodeMessage("answer", { ...signature, ...told }) };
      },
    },
    resolve: async () => [],
    letOthersRun: () => new Promise((resolve) => setImmediate(resolve)),
    onApply: () => {},
    log: () => {},
  });
  closing.push(async () => {
    await replication.stop();
    opened[Symbol.dispose]();
    folder[Symbol.dispose]();
  });
  const receive = (body: Buffer) => replication.receive({ body, authorization: null, remoteAddress: "127.0.0.1" });
  let incarnation = 0;
  const greet = async () => {
    replication.start();
    await scheduler.advance(10_000);
    const hello = { protocol: PROTOCOL, ...SENDER, clock: nowMs(), next: 1, stamp: versionAt(nowMs()) };
    incarnation = decodeMessage((await receive(encodeMessage("hello", hello))).body).head.number("incarnation");
  };
  const batch = (number: number, mutations: readonly Mutation[]) => {
    const known = Number.MAX_SAFE_INTEGER;
    const head = { ...SENDER, clock: nowMs(), to: incarnation, number, watermark: 0, newest: 0, known };
    return receive(encodeMessage("batch", head, mutations));
  };
  const holds = async (key: string) => engine.peek(keyOf(key), new CollectingSink());
  return { engine, holds, outbox, scheduler, clock, peer, replication, receive, greet, batch, nowMs };
}

function put(key: string, version: number): PutMutation {
  const stamp = { version: toVersion(version), nodeId: SENDER.id };
  return {
    ...{ kind: "put", key, value: { bytes: Buffer.from("1"), contentType: JSON_CONTENT_TYPE } },
    ...{ expiresAtMs: NEVER, stamp },
  };
}

/** Rejections that nobody handled while `run` ran: each of them ends a node. */
async function unhandledIn(run: () => Promise<unknown>): Promise<unknown[]> {
  const unhandled: unknown[] = [];
  const note = (reason: unknown) => void unhandled.push(reason);
  process.on("unhandledRejection", note);
  try {
    await run();
    await settled();
  } finally {
    process.off("unhandledRejection", note);
  }
  return unhandled;
}

describe("a node whose engine is away", () => {
  test("refuses a batch of any length, takes it when the engine is back, and lives", async () => {
    const at = house();
    await at.greet();
    const now = versionAt(at.nowMs());
    const puts = Array.from({ length: 1200 }, (_, number) => put(`k${number}`, now + number));
    const stamp = { version: toVersion(now + 5000), nodeId: SENDER.id };
    const batches: Mutation[][] = [puts, [...puts.slice(0, 3), { kind: "invalidate", pattern: "x*", stamp }]];
    at.engine.fate = "lost";
    const statuses: number[] = [];
    const unhandled = await unhandledIn(async () => {
      for (const [index, mutations] of batches.entries()) statuses.push((await at.batch(index + 1, mutations)).status);
    });
    expect([statuses, unhandled]).toEqual([[503, 503], []]);
    at.engine.fate = "answers";
    const again = await at.batch(1, puts);
    expect([again.status, again.mediaType]).toEqual([200, MESSAGE_TYPE]);
    for (const { key } of puts) expect(await at.holds(key)).toBe(true);
  });

  test("drops what lost against something newer of a peer when the engine is back, and lives", async () => {
    const at = house();
    await at.greet();
    const stamp = { version: at.clock.next(), nodeId: 1 };
    const value = { bytes: Buffer.from("1"), contentType: JSON_CONTENT_TYPE };
    const stored = { ...{ key: keyOf("k"), source: value.bytes, start: 0, end: 1 }, attributes: JSON_ATTRIBUTES };
    await at.engine.put({ ...stored, expiresAtMs: NEVER, stamp, condition: null });
    at.peer.answer = ({ head, mutations }) =>
      mutations.length > 0 ? { acknowledged: head.number("number"), lost: [0, stamp.version + 1, SENDER.id] } : {};
    const put: Mutation = {
      ...{ kind: "put", key: "k", value, expiresAtMs: NEVER, stamp },
    };
    at.engine.fate = "lost";
    const unhandled = await unhandledIn(async () => {
      await at.outbox.append(at.replication.rowsOf(put));
      await at.scheduler.advance(1000);
    });
    expect([unhandled, at.outbox.counts(`peer:${PEER}`).pending]).toEqual([[], 1]);
    at.engine.fate = "answers";
    expect(await at.holds("k")).toBe(true);
    await at.scheduler.advance(10_000);
    expect([await at.holds("k"), at.outbox.counts(`peer:${PEER}`).pending]).toEqual([false, 0]);
  });
});

test("thousands of pattern deletes in one message are done in turns: none does more than a few walks", async () => {
  const keys = 500;
  let looks = 0;
  const mostLooks: number[] = [];
  const at = house(tempFolder(), (clock) => {
    const memory = MemoryEngine.create({ limitBytes: 8 * 1024 ** 2, threads: 1, clock, versioned: true });
    const deleteMatching = memory.deleteMatching.bind(memory);
    memory.deleteMatching = (pattern, stamp) => {
      const matches = (...range: Parameters<KeyPattern["matches"]>): boolean => {
        looks += 1;
        return pattern.matches(...range);
      };
      return deleteMatching({ text: pattern.text, matches }, stamp);
    };
    return memory;
  });
  await at.greet();
  const now = versionAt(at.nowMs());
  await at.batch(
    1,
    Array.from({ length: keys }, (_, number) => put(`k${number}`, now + number)),
  );
  const patterns = Array.from({ length: 5_000 }, (_, number): Mutation => {
    const stamp = { version: toVersion(now + 1_000 + number), nodeId: SENDER.id };
    return { kind: "invalidate", pattern: `*:${number}`, stamp };
  });
  let isOver = false;
  const watch = () => {
    mostLooks.push(looks);
    looks = 0;
    if (!isOver) setImmediate(watch);
  };
  setImmediate(watch);
  const { status } = await at.batch(2, patterns);
  isOver = true;
  expect([status, mostLooks.reduce((sum, each) => sum + each, looks)]).toEqual([200, keys * patterns.length]);
  expect(Math.max(...mostLooks)).toBeLessThan(10 * keys);
});
