/** A hub as an HTTP thread sees it: client and server, with a channel between that copies as threads do. */

import { beforeEach, describe, expect, test } from "bun:test";
import type { Loaded } from "../../src/cache/backing-store.ts";
import { committed } from "../../src/cache/commit-log.ts";
import type { DeadWrite } from "../../src/cache/operator-port.ts";
import { UpstreamError } from "../../src/cache/upstream-error.ts";
import { JSON_CONTENT_TYPE } from "../../src/model/entry.ts";
import type { Mutation } from "../../src/model/mutation.ts";
import { connectHub, type HubClient } from "../../src/node/upstream-client.ts";
import type { UpstreamAnswer, UpstreamRequest } from "../../src/node/upstream-messages.ts";
import { type ServedHub, UpstreamServer } from "../../src/node/upstream-server.ts";
import { ByteBudget, InFlight } from "../../src/runtime/byte-budget.ts";
import { single } from "../../src/telemetry/metric-family.ts";
import { stampOf } from "../support/engine-io.ts";
import { FakeUpstream, outboxFull, shownMutation } from "../support/fake-upstream.ts";
import { ManualScheduler } from "../support/manual-scheduler.ts";
import { until } from "../support/until.ts";

const DEAD: DeadWrite = {
  id: 7,
  key: "a",
  kind: "put",
  valueBytes: 1,
  contentType: JSON_CONTENT_TYPE,
  attempts: 10,
  reason: "no such customer",
  queuedAtMs: 1,
};

class FakeHub extends FakeUpstream implements ServedHub {
  readonly pending = new Map<string, Mutation>();
  readonly doubted: string[] = [];

  async keepPending(mutation: Mutation): Promise<void> {
    if (mutation.kind === "invalidate") throw outboxFull();
    this.pending.set(mutation.key, mutation);
  }

  async pendingOf(key: string): Promise<Mutation | null> {
    return this.pending.get(key) ?? null;
  }

  doubt(key: string): void {
    this.doubted.push(key);
  }

  override async dropDead(): Promise<number> {
    throw new Error("a bug");
  }
}

let hub: FakeHub;
let client: HubClient;
let requests: UpstreamRequest[];
let answers: UpstreamAnswer[];
let scheduler: ManualScheduler;
let inFlight: ByteBudget;

beforeEach(() => {
  hub = new FakeHub();
  requests = [];
  answers = [];
  scheduler = new ManualScheduler();
  inFlight = ByteBudget.create(2 ** 30);
  const defer = (run: () => void) => setImmediate(run);
  const server = new UpstreamServer(
    hub,
    (answer) => {
      answers.push(answer);
      client.receive(structuredClone(answer));
    },
    defer,
    inFlight,
  );
  client = connectHub({
    inFlight,
    post: (request, transfer) => {
      requests.push(request);
      server.receive(structuredClone(request, { transfer: [...transfer] }));
    },
    defer,
    monotonicMs: () => scheduler.monotonicMs(),
  });
});

function put(key: string, text = "1"): Mutation {
  const value = { bytes: Buffer.from(text), contentType: JSON_CONTENT_TYPE };
  return { kind: "put", key, value, expiresAtMs: 0, stamp: stampOf(1, 7), isReplicated: false };
}

function found(text: string, bytes = Buffer.from(text)): Loaded {
  const value = { bytes, contentType: JSON_CONTENT_TYPE };
  return {
    kind: "found",
    value,
    expiresAtMs: 5,
    stamp: stampOf(2, 7),
    isStale: true,
    isStored: false,
    isCollapsed: false,
  };
}

describe("the hub as an HTTP thread sees it", () => {
  test("gets all that was asked for in one turn in one message, and is told of commits in a row at once", async () => {
    hub.onLoad = () => found("[1]");
    const records = Promise.all(["a", "b", "c"].map((key) => committed(client, put(key))));
    const loads = Promise.all([client.load("x"), client.load("y")]);
    client.refresh("z");
    await Promise.all([records, loads, client.health()]);
    expect(requests).toHaveLength(1);
    expect(answers.flatMap(({ records: told }) => told)).toEqual([{ from: 1, to: 3, failure: null }]);
    expect(hub.recorded.map(shownMutation)).toEqual(["put a=1", "put b=1", "put c=1"]);
    expect(hub.refreshed).toEqual(["z"]);
    await committed(client, put("d"));
    expect(requests).toHaveLength(2);
    expect(hub.recorded).toHaveLength(4);
  });

  test("answers each record when the hub has it, in any order", async () => {
    const { promise, resolve } = Promise.withResolvers<void>();
    hub.onRecord = (mutation) => (mutation.kind === "put" && mutation.key === "slow" ? promise : undefined);
    let isSlowDone = false;
    const slow = committed(client, put("slow")).then(() => {
      isSlowDone = true;
    });
    await new Promise((turn) => setImmediate(turn));
    await committed(client, put("quick"));
    expect(isSlowDone).toBe(false);
    resolve();
    await slow;
    expect(hub.recorded.map(shownMutation)).toEqual(["put quick=1", "put slow=1"]);
  });

  test("refuses alone what there is no room for, not what came with it", async () => {
    hub.onRecord = (mutation) => {
      if (mutation.kind === "put" && mutation.key === "large") throw outboxFull();
    };
    const results = await Promise.allSettled(["a", "large", "b"].map((key) => committed(client, put(key))));
    expect(results.map((result) => result.status)).toEqual(["fulfilled", "rejected", "fulfilled"]);
    const [, refusal] = results;
    expect(refusal?.status === "rejected" && refusal.reason).toBeInstanceOf(UpstreamError);
    expect(refusal).toMatchObject({ reason: { code: "ERR_OUTBOX_FULL", retryAfterMs: 1_000, isKept: false } });
    expect(hub.recorded.map(shownMutation)).toEqual(["put a=1", "put b=1"]);
  });

  test("loads a key once for all who ask in a turn, and gives each the whole answer", async () => {
    hub.onLoad = (key) => (key === "none" ? { kind: "absent" } : found(`"${key}"`));
    const loads = await Promise.all(["a", "a", "none", "b", "a"].map((key) => client.load(key)));
    expect(hub.loaded).toEqual(["a", "none", "b"]);
    expect(loads.map((loaded) => (loaded.kind === "found" ? loaded.value.bytes.toString() : null))).toEqual([
      ...['"a"', '"a"', null, '"b"', '"a"'],
    ]);
    expect(loads[0]).toEqual(found('"a"'));
    expect(loads[0]?.kind === "found" && Buffer.isBuffer(loads[0].value.bytes)).toBe(true);
  });

  test("counts what was loaded until the thread has handed it on", async () => {
    hub.onLoad = () => found('"a"');
    await Promise.all([client.load("a"), client.load("b")]);
    expect(inFlight.usedFor(InFlight.Upstream)).toBeGreaterThan(0);
    await until("it is given back", () => inFlight.usedBytes === 0);
  });

  test("does not send along what a loaded value is a part of", async () => {
    const whole = Buffer.alloc(1024 * 1024, "x");
    hub.onLoad = () => found("", whole.subarray(10, 13));
    expect(await client.load("a")).toMatchObject({ value: { bytes: Buffer.from("xxx") } });
    const result = answers[0]?.loads[0]?.result;
    expect(result?.kind === "found" && result.value.bytes.buffer.byteLength).toBe(3);
  });

  test("fails a load as the hub does, and others not", async () => {
    hub.onLoad = (key) => {
      if (key === "bug") throw new TypeError("a bug");
      if (key === "late") throw new UpstreamError("ERR_BACKEND_TIMEOUT", "no answer", 1_000, false);
      return found("1");
    };
    const results = await Promise.allSettled(["bug", "late", "a"].map((key) => client.load(key)));
    expect(results[0]).toMatchObject({ reason: { message: "TypeError: a bug" } });
    expect(results[1]).toMatchObject({ reason: { code: "ERR_BACKEND_TIMEOUT", message: "no answer" } });
    expect(results[2]).toMatchObject({ value: found("1") });
  });

  test("asks for the same key to be reloaded once a second at most", async () => {
    const turn = () => new Promise((done) => setImmediate(done));
    for (let read = 0; read < 5; read++) client.refresh("a");
    await turn();
    client.refresh("a");
    client.refresh("b");
    await turn();
    expect(hub.refreshed).toEqual(["a", "b"]);
    for (const ms of [-3_600_000, 3_600_000]) {
      scheduler.jump(ms);
      client.refresh("a");
      await turn();
      expect(hub.refreshed).toEqual(["a", "b"]);
    }
    await scheduler.advance(1_000);
    client.refresh("a");
    await turn();
    expect(hub.refreshed).toEqual(["a", "b", "a"]);
  });

  test("passes on what waits for the engine", async () => {
    const value = { bytes: Buffer.from("[1]"), contentType: JSON_CONTENT_TYPE };
    const stamp = stampOf(5);
    const put = { kind: "put", key: "a", value, expiresAtMs: 9, stamp, isReplicated: false } as const;
    await client.keepPending(put);
    expect(await client.pendingOf("a")).toEqual(put);
    const pending = await client.pendingOf("a");
    expect(pending?.kind === "put" && Buffer.isBuffer(pending.value.bytes)).toBe(true);
    expect(await client.pendingOf("b")).toBeNull();
    const everything = { kind: "invalidate", pattern: null, stamp, isReplicated: false } as const;
    await expect(client.keepPending(everything)).rejects.toMatchObject({ code: "ERR_OUTBOX_FULL" });
    client.doubt("c", stamp);
    await client.pendingOf("c");
    expect(hub.doubted).toEqual(["c"]);
  });

  test("answers a call that takes long, while others are answered", async () => {
    const { promise, resolve } = Promise.withResolvers<DeadWrite[]>();
    hub.deadLetters = () => promise;
    const slow = client.deadLetters(0, 10);
    expect(await client.retryDead([1])).toBe(1);
    expect(await client.health()).toEqual({});
    resolve([DEAD]);
    expect(await slow).toEqual([DEAD]);
  });

  test("passes on what operators ask for", async () => {
    hub.parts = { backend: { status: "ok", detail: "", facts: {}, sinceMs: 1 } };
    hub.counted = { backend: { loads: 3 } };
    hub.families = [single("gauge", "servcache.outbox.size", "By", "Bytes.", 5)];
    hub.dead = [{ ...DEAD, id: 3 }, DEAD];
    expect(await client.health()).toEqual(hub.parts);
    expect(await client.stats()).toEqual(hub.counted);
    expect(await client.metrics()).toEqual(hub.families);
    expect(await client.deadLetters(3, 10)).toEqual([DEAD]);
    expect(await client.retryDead([1, 2])).toBe(2);
    expect(await client.retryDead(null)).toBe(2);
    expect(hub.asked).toEqual(["health", "stats", "metrics", "retry 1,2", "retry all"]);
    await expect(client.dropDead([1])).rejects.toThrow("a bug");
  });
});

test("loads that share a buffer give it back once", async () => {
  const deferred: (() => void)[] = [];
  const sharing = connectHub({
    ...{ loads: true, deletes: false, tombstoneMs: 0, refreshAheadMs: 0, monotonicMs: () => 0 },
    ...{ post: () => {}, defer: (run) => deferred.push(run), inFlight: ByteBudget.create(2 ** 30) },
  });
  const asked = [sharing.load("a"), sharing.load("a")];
  const value = { bytes: Buffer.allocUnsafeSlow(8 * 1024).fill("x"), contentType: JSON_CONTENT_TYPE };
  const flags = { isStale: false, isStored: true, isCollapsed: false };
  const result: Loaded = { kind: "found", value, expiresAtMs: 0, stamp: stampOf(1), ...flags };
  const loads = [1, 2].map((id) => ({ ids: [id], result: { ...result } }));
  sharing.receive(structuredClone({ kind: "upstream", records: [], loads, calls: [] }));
  for (const loaded of await Promise.all(asked)) {
    expect(loaded.kind === "found" && loaded.value.bytes.length).toBe(8 * 1024);
  }
  for (const run of deferred) run();
  expect(deferred.length).toBeGreaterThanOrEqual(2);
});
