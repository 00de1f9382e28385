/** FAULTS 12 to 16, with real nodes: what one node does, the others do, whatever is between them. */
import { afterEach, describe, expect, test } from "bun:test";
import { SEEN_AHEAD_MS } from "../../src/replication/durable-clock.ts";
import { startMesh } from "../support/mesh.ts";
import { needing } from "../support/needing.ts";
import { RedisServer } from "../support/redis-server.ts";
import { endServed } from "../support/serve.ts";
import { until } from "../support/until.ts";

const TIMEOUT_MS = 300_000;

afterEach(endServed);

const onRedis = needing("redis-server");
let redis: RedisServer;
onRedis.beforeAll(async () => {
  redis = await RedisServer.start();
});
onRedis.afterAll(() => redis.stop());

const keysOf = (prefix: string, count: number) => Array.from({ length: count }, (_, at) => `${prefix}${at}`);

onRedis.describe("three nodes, one of them on Redis", () => {
  test(
    "have the writes, deletes, counters and clears of each other",
    async () => {
      await using mesh = await startMesh(3, {
        each: [{}, {}, { flags: ["--redis-command-timeout=1m"], env: { REDIS_URL: redis.url } }],
      });
      const [a, b, c] = mesh.nodes;
      if (a === undefined || b === undefined || c === undefined) throw new Error("three nodes were started");
      const keys = [...keysOf("a:", 50), ...keysOf("b:", 50), ...keysOf("c:", 50)];
      await Promise.all(keysOf("a:", 50).map((key, at) => a.calls.put(key, at)));
      await Promise.all(keysOf("b:", 50).map((key, at) => b.calls.put(key, at)));
      await Promise.all(keysOf("c:", 50).map((key, at) => c.calls.put(key, at)));
      const all = await mesh.agreed(keys);
      expect([...all.values()]).toEqual([...Array(3).keys()].flatMap(() => [...Array(50).keys()]));

      await b.calls.remove("a:0");
      await c.calls.call("PATCH", "/api/cache/a:1", { body: '{"increment":100}' });
      await a.calls.call("DELETE", "/api/cache?pattern=c:*");
      await until("the pattern is everywhere", async () => (await c.calls.get("c:0")).status === 404);
      const after = await mesh.agreed(keys);
      expect([after.get("a:0"), after.get("a:1"), after.get("c:49")]).toEqual([null, 101, null]);

      await c.calls.call("DELETE", "/api/cache");
      await until("the clear is everywhere", async () => (await a.calls.get("b:1")).status === 404);
      expect([...(await mesh.agreed(keys)).values()].filter((value) => value !== null)).toEqual([]);
      for (const node of mesh.nodes)
        expect(await node.calls.json("/api/stats")).toMatchObject({ peers: { repairs: 0 } });
    },
    TIMEOUT_MS,
  );
});

describe("a partition", () => {
  test(
    "in which both sides write, delete and clear ends in the newer of each key",
    async () => {
      await using mesh = await startMesh(3);
      const [a, b] = mesh.nodes;
      if (a === undefined || b === undefined) throw new Error("three nodes were started");
      const keys = [...keysOf("k", 20), ...keysOf("user:", 20)];
      await Promise.all(keys.map((key) => b.calls.put(key, 1)));
      await mesh.agreed(keys);

      mesh.cutOff(0);
      await Promise.all(keysOf("k", 10).map((key) => a.calls.put(key, 2)));
      await a.calls.call("DELETE", "/api/cache?pattern=user:*");
      await a.calls.put("user:1", 2);
      await b.calls.remove("k0");
      await b.calls.put("k1", 3);
      await b.calls.put("user:2", 3);
      await a.calls.put("k2", 4);
      mesh.join(0);

      const after = await mesh.agreed(keys);
      expect(after.get("k0")).toBeNull();
      expect([after.get("k1"), after.get("k2"), after.get("k3"), after.get("k15")]).toEqual([3, 4, 2, 1]);
      expect([after.get("user:0"), after.get("user:1"), after.get("user:2")]).toEqual([null, 2, 3]);
    },
    TIMEOUT_MS,
  );

  test(
    "is said in /health while it lasts, with how long and how much waits",
    async () => {
      await using mesh = await startMesh(2);
      const [a] = mesh.nodes;
      if (a === undefined) throw new Error("two nodes were started");
      mesh.cutOff(1);
      await a.calls.put("k", 1);
      await until("it is said", async () => (await a.calls.json("/health")).peers.status === "degraded");
      const { peers } = await a.calls.json("/health");
      expect(peers.detail).toContain("is down for");
      expect(Object.values(peers.facts ?? peers)).toContainEqual(
        expect.objectContaining({ state: "down", pending: 1 }),
      );
      mesh.join(1);
      await mesh.agreed(["k"]);
      await mesh.met();
    },
    TIMEOUT_MS,
  );
});

describe("a peer", () => {
  test(
    "that is killed gets what it missed when it is back, and fresh writes are not held up",
    async () => {
      await using mesh = await startMesh(3);
      const [a, b, c] = mesh.nodes;
      if (a === undefined || b === undefined || c === undefined) throw new Error("three nodes were started");
      const keys = keysOf("k", 300);
      await a.calls.put("before", 1);
      await mesh.agreed(["before"]);
      await c.kill();
      // What was stamped less than this after its last acknowledgement, it might have had, for all it knows.
      const laterMs = Date.now() + SEEN_AHEAD_MS;
      await until("what comes now is new for it", () => Date.now() > laterMs);
      await Promise.all(keys.map((key, at) => a.calls.put(key, at)));
      await b.calls.remove("k0");
      await c.start();
      await a.calls.put("fresh", 7);
      const after = await mesh.agreed([...keys, "fresh"]);
      expect([after.get("k0"), after.get("k299"), after.get("fresh")]).toEqual([null, 299, 7]);
    },
    TIMEOUT_MS,
  );

  test(
    "that hangs costs the others and the clients nothing",
    async () => {
      await using mesh = await startMesh(3);
      const [a, b, c] = mesh.nodes;
      if (a === undefined || b === undefined || c === undefined) throw new Error("three nodes were started");
      c.signal("SIGSTOP");
      const answers = await Promise.all(keysOf("k", 200).map((key, at) => a.calls.put(key, at)));
      expect(answers.every(({ status }) => status === 200)).toBe(true);
      await until("the other has them", async () => (await b.calls.values(keysOf("k", 200))).size === 200);
      // What waits for one holds up nothing for the others: it still waits, all of it.
      await until("the rest of what waits is for the one that hangs", async () => {
        const { links } = (await a.calls.json("/api/stats")).peers;
        return links.map(({ queue }: { queue: { mutations: number } }) => queue.mutations).join() === "0,200";
      });
      c.signal("SIGCONT");
      const after = await mesh.agreed(keysOf("k", 200));
      expect(after.get("k199")).toBe(199);
    },
    TIMEOUT_MS,
  );

  test(
    "behind a slow way that is cut again and again gets everything once",
    async () => {
      await using mesh = await startMesh(2);
      const [a] = mesh.nodes;
      if (a === undefined) throw new Error("two nodes were started");
      mesh.way(0, 1).mode = { kind: "delay", ms: 150 };
      const keys = keysOf("k", 500);
      for (let round = 0; round < 5; round++) {
        await Promise.all(keys.slice(round * 100, round * 100 + 100).map((key, at) => a.calls.put(key, at)));
        mesh.way(0, 1).cut();
      }
      const after = await mesh.agreed(keys);
      expect([...after.values()]).toEqual(keys.map((_, at) => at % 100));
    },
    TIMEOUT_MS,
  );

  test(
    "whose connections are dead without a word gets everything when they have timed out",
    async () => {
      await using mesh = await startMesh(3);
      const [a, b] = mesh.nodes;
      if (a === undefined || b === undefined) throw new Error("three nodes were started");
      const keys = keysOf("k", 100);
      mesh.way(0, 2).mode = { kind: "hang" };
      const answers = await Promise.all(keys.map((key, at) => a.calls.put(key, at)));
      expect(answers.every(({ status }) => status === 200)).toBe(true);
      await until("the other has them", async () => (await b.calls.values(keys)).size === 100);
      // What was sent is lost: these connections stay open and never answer.
      mesh.way(0, 2).mode = { kind: "pass" };
      expect((await mesh.agreed(keys)).get("k99")).toBe(99);
    },
    TIMEOUT_MS,
  );

  onRedis.test(
    "that lost its queue with its data directory, and not its entries, is found to differ: that is mended and counted",
    async () => {
      await using mesh = await startMesh(2, {
        compare: "1s",
        each: [{ flags: ["--redis-command-timeout=1m"], env: { REDIS_URL: `${redis.url}/3` } }],
      });
      const [a, b] = mesh.nodes;
      if (a === undefined || b === undefined) throw new Error("two nodes were started");
      await a.calls.put("k", 1);
      await a.calls.put("same", 1);
      await mesh.agreed(["k", "same"]);
      mesh.cutOff(0);
      await a.calls.put("k", 2);
      await a.kill();
      await a.startEmpty();
      mesh.join(0);
      await until("it is mended", async () => (await b.calls.values(["k"])).get("k") === 2);
      const repairs = await Promise.all(
        mesh.nodes.map(async ({ calls }) => (await calls.json("/api/stats")).peers.repairs),
      );
      expect(repairs[0] + repairs[1]).toBe(1);
      expect((await mesh.agreed(["k", "same"])).get("same")).toBe(1);
    },
    TIMEOUT_MS,
  );

  test(
    "that lost its state starts with the entries of another, and no deleted key comes back",
    async () => {
      await using mesh = await startMesh(3);
      const [a, b, c] = mesh.nodes;
      if (a === undefined || b === undefined || c === undefined) throw new Error("three nodes were started");
      const keys = keysOf("k", 100);
      await Promise.all(keys.map((key, at) => b.calls.put(key, at)));
      await mesh.agreed(keys);
      await c.kill();
      await a.calls.remove("k0");
      await c.startEmpty(["--bootstrap=peer"]);
      expect((await c.calls.call("GET", "/readyz")).status).toBe(503);
      await until("it is ready", async () => (await c.calls.call("GET", "/readyz")).status === 200);
      const after = await mesh.agreed(keys);
      expect([after.get("k0"), after.get("k99")]).toEqual([null, 99]);
      expect((await c.calls.json("/api/stats")).peers.bootstrap).toBe("done");
    },
    TIMEOUT_MS,
  );

  test(
    "that does not know the token gets nothing and gives nothing",
    async () => {
      await using mesh = await startMesh(2, {
        each: ["one", "one"].map((token) => ({ env: { SERV_CACHE_PEER_TOKEN: token } })),
      });
      const [a, b] = mesh.nodes;
      if (a === undefined || b === undefined) throw new Error("two nodes were started");
      await b.kill();
      await b.start(["--peer-token=two"]);
      await a.calls.put("k", 1);
      await until("it is said", async () => (await a.calls.json("/health")).peers.detail?.includes("403") === true);
      expect((await b.calls.get("k")).status).toBe(404);
      const plain = await b.calls.call("POST", "/api/cache?replicated=true", { body: '{"key":"x","value":1}' });
      expect([plain.status, plain.code]).toEqual([403, "ERR_NOT_A_PEER"]);
    },
    TIMEOUT_MS,
  );
});
