/**
 * Two threads with caches of their own over one engine and one hub, calls that overlap in any way, and a backend that
 * fails now and then. When all is quiet, the cache holds nothing else than the database does.
 */

import { expect, test } from "bun:test";
import type { Cache } from "../../src/cache/cache.ts";
import type { NewValue } from "../../src/cache/changes.ts";
import { UpstreamError } from "../../src/cache/upstream-error.ts";
import type { Condition } from "../../src/engine/engine.ts";
import { JSON_ATTRIBUTES } from "../../src/model/entry.ts";
import { Glob } from "../../src/model/glob.ts";
import { connectHub } from "../../src/node/upstream-client.ts";
import type { UpstreamAnswer } from "../../src/node/upstream-messages.ts";
import { UpstreamServer } from "../../src/node/upstream-server.ts";
import { ByteBudget } from "../../src/runtime/byte-budget.ts";
import { keyOf, RecordingSink } from "../support/engine-io.ts";
import { settled } from "../support/manual-scheduler.ts";
import { putIn } from "../support/put-in.ts";
import { printedSeed, randomOf } from "../support/random.ts";
import { openTestHub, type TestHub } from "../support/test-hub.ts";

const RUNS = 40;
const STEPS = 250;
const KEYS = ["a:1", "a:2", "b:1", "b:2", "count"];
const CONDITIONS: readonly (Condition | null)[] = [null, null, null, { kind: "absent" }, { kind: "present" }];

class IgnoringSink extends RecordingSink {
  markLoaded(): void {}
}

/** A cache as a thread has it: the hub is behind messages. */
function threadOf(node: TestHub): Cache {
  const inFlight = ByteBudget.create(2 ** 30);
  const receive = (answer: UpstreamAnswer) => client.receive(structuredClone(answer));
  const server = new UpstreamServer(node.hub, receive, setImmediate, inFlight);
  const monotonicMs = () => node.scheduler.monotonicMs();
  const client = connectHub({
    ...{ monotonicMs, inFlight },
    post: (request, transfer) => server.receive(structuredClone(request, { transfer: [...transfer] })),
    defer: (run) => setImmediate(run),
  });
  return node.cacheWith(client);
}

function json(text: string): NewValue {
  const source = Buffer.from(text);
  return { source, start: 0, end: source.length, attributes: JSON_ATTRIBUTES };
}

async function run(
  random: () => number,
  config: { readonly deletes: boolean; readonly writeMode: "behind" | "through"; readonly reloadsWrites: boolean },
) {
  const refreshing = { refreshAhead: 0.5, fillTtlMs: 3_600_000, negativeTtlMs: 500 };
  await using node = openTestHub({ config: { ...config, ...refreshing }, outbox: { limitBytes: 40_000 } });
  const threads = [threadOf(node), threadOf(node)];
  const pick = <T>(items: readonly T[]): T => items[Math.floor(random() * items.length)] as T;
  const failures = new Set<string>();
  let value = 0;

  const step = async (cache: Cache): Promise<unknown> => {
    const name = pick(KEYS);
    const key = keyOf(name);
    const what = random();
    if (what < 0.3) {
      const text = name === "count" ? `${value++}` : JSON.stringify("x".repeat(random() < 0.3 ? 17_000 : 20) + value++);
      return putIn(cache, key, json(text), random() < 0.3 ? 300 : 0, pick(CONDITIONS));
    }
    if (what < 0.6) return (await cache.get(key, new RecordingSink())) || cache.load(key, new IgnoringSink());
    if (what < 0.7) return cache.increment(keyOf("count"), 1, null);
    if (what < 0.8) return cache.delete(key, pick(CONDITIONS));
    if (what < 0.85) return cache.touch(key, 1_000, null);
    if (what < 0.9) return cache.deleteMatching(Glob.parse(pick(["a*", "*:1", "c*"])));
    if (what < 0.92) return cache.clear();
    if (what < 0.95) node.backend.isAway = random() < 0.4;
    return node.scheduler.advance(Math.floor(random() * 400));
  };

  const underWay: Promise<unknown>[] = [];
  for (let number = 0; number < STEPS; number++) {
    const call = step(pick(threads)).catch((error: unknown) => {
      if (!(error instanceof UpstreamError)) throw error;
      failures.add(error.code);
    });
    underWay.push(call);
    if (random() < 0.3) await settled();
  }
  node.backend.isAway = false;
  for (let turn = 0; turn < 100; turn++) await node.scheduler.advance(500);
  await Promise.all(underWay);
  expect(node.outbox.usedBytes).toBe(0);
  for (const key of KEYS) {
    const cached = node.stored(key);
    if (cached !== null)
      expect([key, cached]).toEqual([key, node.backend.values.get(key) ?? "nothing in the database"]);
  }
  // That the backend fails and the outbox fills is said; nothing else is.
  expect(node.log.filter((line) => !/^(backend|outbox): (degraded|ok again)/.test(line))).toEqual([]);
  return failures;
}

test.each([
  { deletes: true, writeMode: "behind", reloadsWrites: false },
  { deletes: false, writeMode: "behind", reloadsWrites: false },
  { deletes: true, writeMode: "through", reloadsWrites: false },
  { deletes: true, writeMode: "behind", reloadsWrites: true },
  { deletes: true, writeMode: "through", reloadsWrites: true },
] as const)(
  "two threads leave nothing in the cache that the database has not: %p",
  async (config) => {
    const random = randomOf(printedSeed("two threads before a hub"));
    const failures = new Set<string>();
    for (let number = 0; number < RUNS; number++) for (const code of await run(random, config)) failures.add(code);
    // Else the runs were too tame to say anything.
    expect([...failures]).toEqual(expect.arrayContaining(["ERR_BACKEND_UNAVAILABLE", "ERR_OUTBOX_FULL"]));
  },
  300_000,
);
