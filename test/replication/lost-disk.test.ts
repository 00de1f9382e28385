import { expect, test } from "bun:test";
import { History } from "../simulation/history.ts";
import { ModelNetwork } from "../simulation/model-network.ts";
import { ModelNode } from "../simulation/model-node.ts";
import { Random } from "../simulation/random.ts";
import { WorldClock } from "../simulation/world-clock.ts";

const URLS = ["http://n1:1", "http://n2:1"];
const SECOND_MS = 1000;

test("a node that lost its disk, with a clock that is behind, stamps newer than what it had acknowledged before", async () => {
  const clock = new WorldClock();
  const random = new Random(1);
  const faults = { delayMs: 5, lostRequest: 0, lostResponse: 0, duplicate: 0, duplicateLateMs: 0 };
  const network = new ModelNetwork(clock, random, faults);
  const world = {
    clock,
    network,
    random,
    history: new History(() => true),
    log: () => {},
    isTraced: false,
    nodes: () => [],
  };
  const nodes = URLS.map(
    (url, at) =>
      new ModelNode(
        {
          ...{ id: at + 1, url, peers: URLS, kind: "memory", maxSkewMs: 30_000, tombstoneMs: 600_000, buckets: 4 },
          ...{ queueLimitBytes: 1e9, queueLimitKeys: 1e9, bootstrap: "none", compareEveryMs: 0 },
        },
        world,
      ),
  );
  const [first, second] = nodes;
  if (first === undefined || second === undefined) throw new Error("two nodes were made");
  second.skewMs = -10 * SECOND_MS;
  for (const node of nodes) node.start();
  first.put("k", null);
  await clock.runUntil(clock.nowMs + SECOND_MS);
  const acknowledged = second.life.engine.live("k")?.stamp.version ?? 0;
  expect(acknowledged).toBeGreaterThan(0);
  // Where it is known no more, nobody could tell the second node that its own write is the older one.
  first.life.engine.evict("k");
  second.kill(true);
  second.start();
  await clock.runUntil(clock.nowMs + SECOND_MS);
  second.put("k", null);
  await clock.runUntil(clock.nowMs + SECOND_MS);
  expect(second.life.engine.live("k")?.stamp.version).toBeGreaterThan(acknowledged);
  expect(first.life.engine.live("k")?.stamp).toEqual(second.life.engine.live("k")?.stamp);
});
