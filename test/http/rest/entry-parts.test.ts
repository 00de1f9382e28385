import { expect, test } from "bun:test";
import type { MemoryEngine } from "../../../src/engine/memory/memory-engine.ts";
import { EntryParts, PartBuffer } from "../../../src/http/rest/entry-parts.ts";
import { LOST } from "../../../src/http/transport/answer-part.ts";
import { JSON_ATTRIBUTES, NEVER } from "../../../src/model/entry.ts";
import type { Key } from "../../../src/model/key.ts";
import { ByteBudget, InFlight } from "../../../src/runtime/byte-budget.ts";
import { requestBytes, startTestApi } from "../../support/api.ts";
import type { HeadSink } from "../../support/collecting-sink.ts";
import { keyOf, smallEngine, stampOf } from "../../support/engine-io.ts";
import { randomOf } from "../../support/random.ts";
import { RawClient } from "../../support/raw-client.ts";
import { eventually } from "../../support/until.ts";

const MIB = 1024 * 1024;
const KEY = keyOf("large");
const BEFORE = Buffer.from('{"key":"large","value":');
const AFTER = Buffer.from("}");

/** A kernel that takes `roomBytes` more, and keeps what it took. */
class Kernel {
  roomBytes = 0;
  readonly taken: Buffer[] = [];
  write(bytes: Buffer, offset: number, length: number): number {
    const taken = Math.min(length, this.roomBytes);
    this.roomBytes -= taken;
    this.taken.push(Buffer.from(bytes.subarray(offset, offset + taken)));
    return taken;
  }
  get bytes(): Buffer {
    return Buffer.concat(this.taken);
  }
}

function patternOf(seed: number, length: number): Buffer {
  const value = Buffer.alloc(length);
  for (let at = 0; at < length; at++) value[at] = (at * 31 + (at >>> 8) * 17 + seed * 101) & 0xff;
  return value;
}

function put(engine: MemoryEngine, key: Key, value: Buffer, version: number): void {
  const entry = { source: value, start: 0, end: value.length, attributes: JSON_ATTRIBUTES, expiresAtMs: NEVER };
  expect(engine.put({ key, ...entry, stamp: stampOf(version), condition: null })).toBe("stored");
}

/** An answer with the large entry, and how full the budget is. */
function answerFrom(engine: MemoryEngine, budget: ByteBudget): EntryParts {
  let body: ConstructorParameters<typeof EntryParts>[0] | null = null;
  const sink = {
    target: Buffer.alloc(0),
    offset: 0,
    begin({ parts, valueLength, stamp }: Parameters<HeadSink["begin"]>[0]): boolean {
      if (parts === undefined) throw new Error("the memory engine has no parts");
      body = {
        parts,
        key: KEY,
        stamp: stampOf(stamp.version, stamp.nodeId),
        valueBytes: valueLength,
        before: BEFORE,
        after: AFTER,
      };
      return false;
    },
  };
  if (!engine.peek(KEY, sink) || body === null) throw new Error("the entry isn't there");
  return new EntryParts(body, budget, new PartBuffer());
}

function fullBudget(): ByteBudget {
  const budget = ByteBudget.create(8 * MIB);
  budget.count(InFlight.Bodies, 4 * MIB);
  return budget;
}

test.each([1, 2, 3, 4, 5])(
  "a value arrives as it was stored, however little its client takes at a time, seed %d",
  (seed) => {
    const random = randomOf(seed);
    const engine = smallEngine(32 * MIB);
    const value = patternOf(seed, 64 * 1024 + Math.floor(random() * 3 * MIB));
    put(engine, KEY, value, 1);
    const budget = fullBudget();
    const answer = answerFrom(engine, budget);
    const kernel = new Kernel();
    while (!answer.isSent) {
      kernel.roomBytes = random() < 0.3 ? Math.floor(random() * 40) : Math.floor(random() * 600_000);
      expect(answer.send(kernel, Number.POSITIVE_INFINITY)).not.toBe(LOST);
    }
    answer.drop();
    expect(kernel.bytes.equals(Buffer.concat([BEFORE, value, AFTER]))).toBe(true);
    expect(budget.usedBytes).toBe(4 * MIB);
  },
);

const CHANGES: readonly (readonly [string, (engine: MemoryEngine, value: Buffer) => unknown])[] = [
  ["another value takes its place", (engine) => put(engine, KEY, patternOf(9, 2 * MIB), 2)],
  [
    "it is deleted",
    (engine) => engine.delete({ key: KEY, stamp: stampOf(2), condition: null, tombstoneUntilMs: NEVER }),
  ],
  ["all is cleared", (engine) => engine.clear(stampOf(2))],
  [
    "it is evicted",
    (engine, value) => {
      for (let number = 0; number < 40; number++) put(engine, keyOf(`other:${number}`), value, 2 + number);
    },
  ],
];

test.each(CHANGES)("between two parts %s: nothing of what comes then is sent", async (_, change) => {
  const value = patternOf(1, 2 * MIB);
  const whole = Buffer.concat([BEFORE, value, AFTER]);
  for (const sentBytes of [0, 10, BEFORE.length, 100_000, MIB, 2 * MIB - 70_000]) {
    const engine = smallEngine(16 * MIB);
    put(engine, KEY, value, 1);
    const budget = fullBudget();
    const answer = answerFrom(engine, budget);
    const kernel = new Kernel();
    kernel.roomBytes = sentBytes;
    expect(answer.send(kernel, Number.POSITIVE_INFINITY)).toBe(sentBytes);
    await change(engine, value);
    kernel.roomBytes = 4 * MIB;
    expect(answer.send(kernel, Number.POSITIVE_INFINITY)).toBe(LOST);
    answer.drop();
    expect(kernel.bytes.equals(whole.subarray(0, kernel.bytes.length))).toBe(true);
    expect(kernel.bytes.length).toBeLessThan(whole.length);
    expect(budget.usedBytes).toBe(4 * MIB);
  }
});

test("where the budget has room, or little is left, the rest is copied at the first wait and can't be lost", () => {
  const value = patternOf(1, 2 * MIB);
  for (const [budget, roomBytes] of [
    [ByteBudget.create(16 * MIB), 500_000],
    [fullBudget(), 2 * MIB - 60_000],
  ] as const) {
    const engine = smallEngine(16 * MIB);
    put(engine, KEY, value, 1);
    const usedBytes = budget.usedBytes;
    const answer = answerFrom(engine, budget);
    const kernel = new Kernel();
    kernel.roomBytes = roomBytes;
    answer.send(kernel, Number.POSITIVE_INFINITY);
    const restBytes = BEFORE.length + value.length + AFTER.length - roomBytes;
    expect(budget.usedBytes).toBe(usedBytes + restBytes);
    put(engine, KEY, patternOf(9, 2 * MIB), 2);
    kernel.roomBytes = restBytes;
    expect(answer.send(kernel, Number.POSITIVE_INFINITY)).toBe(restBytes);
    expect(kernel.bytes.equals(Buffer.concat([BEFORE, value, AFTER]))).toBe(true);
    answer.drop();
    expect(budget.usedBytes).toBe(usedBytes);
  }
});

test("clients that don't read a large value hold no memory, and all of them are answered", async () => {
  const budget = ByteBudget.create(32 * MIB);
  using api = await startTestApi({ budget });
  const value = patternOf(3, 16 * MIB);
  const headers = { "Content-Type": "application/octet-stream" };
  expect((await api.call("PUT", "/api/cache/large", { body: value, headers })).status).toBe(200);
  const clients = await Promise.all(Array.from({ length: 20 }, () => RawClient.open(api.port)));
  for (const { socket } of clients) socket.pause();
  for (const client of clients) await client.send(requestBytes("GET", "/api/cache/large"));
  // The thread answers in order: once this one has its answer, all have what their sockets take.
  expect((await api.call("GET", "/api/cache/none")).status).toBe(404);
  expect(budget.usedBytes).toBeLessThan(MIB);
  for (const client of clients.slice(0, 4)) {
    client.socket.resume();
    const answer = await client.answer();
    expect([answer.status, answer.bytes.equals(value)]).toEqual([200, true]);
    client.socket.destroy();
  }

  expect((await api.call("PUT", "/api/cache/large", { body: "other", headers })).status).toBe(200);
  const late = clients[4];
  if (late === undefined) throw new Error("no client is left");
  late.socket.resume();
  await expect(late.answer()).rejects.toThrow("closed with");
  for (const { socket } of clients) socket.destroy();
  await eventually(() => budget.usedBytes === 0);
  expect(api.bugs).toEqual([]);
});
