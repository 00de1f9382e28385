/** FAULTS 17 and 18, and what else becomes of a read that misses: whole nodes before a service over HTTP. */
import { expect } from "bun:test";
import { connect } from "node:net";
import { type HttpStore, startHttpStore } from "../support/http-store.ts";
import { needing } from "../support/needing.ts";
import { callsOf, type NodeCalls } from "../support/node-calls.ts";
import { RedisServer } from "../support/redis-server.ts";
import { endServed, type ServedNode, serve } from "../support/serve.ts";
import { type TempFolder, tempFolder } from "../support/temp-folder.ts";
import { until } from "../support/until.ts";

const { afterAll, afterEach, beforeAll, beforeEach, describe, test } = needing("redis-server");

const FLAGS = ["--addr=127.0.0.1:0", "--entry-memory=64MiB", "--write-behind-delay=10ms", "--backend-timeout=20s"];

/** Starting a node takes a while where other tests run beside this one. */
const LONG_MS = 300_000;

let folder: TempFolder;
let store: HttpStore;
let redis: RedisServer;

beforeAll(async () => {
  redis = await RedisServer.start();
});
afterAll(() => redis.stop());
beforeEach(() => {
  folder = tempFolder();
  store = startHttpStore();
});
afterEach(async () => {
  await endServed();
  store[Symbol.dispose]();
  folder[Symbol.dispose]();
});

/** A pause of the tests' machine is no outage of Redis: while that is away, nothing that is loaded can be kept for others. */
const PATIENT = "--redis-command-timeout=1m";

type Kind = readonly [name: string, flags: () => readonly string[]];
const NODES: readonly Kind[] = [
  ["1 thread", () => ["--workers=1"]],
  ["2 threads", () => ["--workers=2"]],
  ["2 threads on Redis", () => ["--workers=2", `--redis-url=${redis.url}`, `--redis-prefix=${folder.path}:`, PATIENT]],
];

async function start(flags: readonly string[]): Promise<{ node: ServedNode; calls: NodeCalls }> {
  const node = await serve([...FLAGS, `--backend-db=${store.url}`, `--data-dir=${folder.path}`, ...flags]);
  return { node, calls: callsOf(node.port) };
}

function has(key: string, text: string): void {
  store.entries.set(key, { body: Buffer.from(text), type: "application/json", version: 0 });
}

/** How often the store was asked for a key. */
function asked(key: string): number {
  return store.requests.filter(({ method, path }) => method === "GET" && path === `/base/${encodeURIComponent(key)}`)
    .length;
}

/** Makes the store's answers to GET wait, with what it had when it was asked. */
function holdLoads(): () => void {
  const gate = Promise.withResolvers<void>();
  store.answer = async (request) => {
    const key = decodeURIComponent(request.url.split("/base/")[1] ?? "");
    if (request.method !== "GET") {
      const body = Buffer.from(await request.arrayBuffer());
      store.entries.set(key, { body, type: "application/json", version: 0 });
      return new Response("ok");
    }
    const entry = store.entries.get(key);
    await gate.promise;
    if (entry === undefined) return new Response("none", { status: 404 });
    return new Response(new Uint8Array(entry.body), { headers: { "content-type": entry.type } });
  };
  return () => {
    gate.resolve();
    store.answer = null;
  };
}

/** Asks for a key on many connections at once; gives what they were answered, by status line and body. */
async function getOnMany(port: number, path: string, connections: number, allAsked: () => void) {
  const answers = new Map<string, number>();
  const note = (answer: string) => answers.set(answer, (answers.get(answer) ?? 0) + 1);
  let open = 0;
  const work = Array.from({ length: connections }, async () => {
    const { promise, resolve } = Promise.withResolvers<void>();
    const socket = connect(port, "127.0.0.1");
    let received = "";
    socket.setEncoding("latin1");
    socket.on("connect", () => {
      socket.write(`GET ${path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`);
      open += 1;
      if (open === connections) allAsked();
    });
    socket.on("data", (chunk: string) => {
      received += chunk;
    });
    socket.on("error", (error) => note(error.message));
    socket.on("close", () => {
      note(`${received.split("\r\n", 1)[0]} ${received.split("\r\n\r\n")[1]}`);
      resolve();
    });
    await promise;
  });
  await Promise.all(work);
  return answers;
}

describe.each(NODES)("a node of %s", (_, flags) => {
  test(
    "asks once for a cold key, however many ask for it, and caches it",
    async () => {
      has("cold", "[1]");
      const { node, calls } = await start(flags());
      const letGo = holdLoads();
      const connections = 10_000;
      const answers = await getOnMany(node.port, "/api/cache/cold", connections, letGo);
      expect(Object.fromEntries(answers)).toEqual({ 'HTTP/1.1 200 OK {"key":"cold","value":[1]}': connections });
      expect(asked("cold")).toBe(1);
      expect((await calls.get("cold")).text).toBe('{"key":"cold","value":[1]}');
      expect(asked("cold")).toBe(1);
    },
    LONG_MS,
  );

  const OLD = '{"key":"user:1","value":"old"}';
  const NEW = '{"key":"user:1","value":"new"}';
  test.each([
    // What the reads answer, the one that waited and those after it, and how often the store is asked in all.
    ["a delete", (calls: NodeCalls) => calls.remove("user:1"), OLD, 2],
    ["a pattern delete", (calls: NodeCalls) => calls.call("DELETE", "/api/cache?pattern=user:*"), OLD, 2],
    ["a clear", (calls: NodeCalls) => calls.call("DELETE", "/api/cache"), OLD, 2],
    ["a write", (calls: NodeCalls) => calls.put("user:1", "new"), NEW, 1],
    [
      "a write that a peer sent on",
      (calls: NodeCalls) =>
        calls.call("POST", "/api/cache?replicated=true", { body: '{"key":"user:1","value":"new"}' }),
      NEW,
      1,
    ],
  ])(
    "does not cache what it read before %s",
    async (_what, change, answer, loads) => {
      has("user:1", '"old"');
      const { calls } = await start(flags());
      const letGo = holdLoads();
      const early = calls.get("user:1");
      await until("the load is under way", () => asked("user:1") === 1);
      expect((await change(calls)).status).toBe(200);
      letGo();
      expect((await early).text).toBe(answer);
      const late = await Promise.all([1, 2, 3, 4].map(() => calls.get("user:1")));
      expect(late.map(({ text }) => text)).toEqual(late.map(() => answer));
      expect(asked("user:1")).toBe(loads);
    },
    LONG_MS,
  );

  test(
    "remembers what is not there, until it is written",
    async () => {
      const { calls } = await start(flags());
      for (let read = 0; read < 5; read++) expect((await calls.get("a")).code).toBe("ERR_NOT_FOUND");
      expect(asked("a")).toBe(1);
      expect((await calls.put("a", 1)).status).toBe(200);
      expect((await calls.get("a")).text).toBe('{"key":"a","value":1}');
      await until("the write is in the store", () => store.entries.has("a"));
      expect((await calls.remove("a")).status).toBe(200);
      expect((await calls.get("a")).text).toBe('{"key":"a","value":1}');
    },
    LONG_MS,
  );

  test(
    "looks at what the store has for conditions, counters and new TTLs",
    async () => {
      for (const key of ["counter", "lock", "touched"]) has(key, "41");
      const { calls } = await start(flags());
      const counted = await calls.call("PATCH", "/api/cache/counter", { body: '{"increment":1}' });
      expect([counted.status, counted.text]).toEqual([200, '{"key":"counter","value":42}']);
      const headers = { "If-None-Match": "*" };
      expect((await calls.call("PUT", "/api/cache/lock", { body: "1", headers })).code).toBe("ERR_PRECONDITION_FAILED");
      const touched = await calls.call("PATCH", "/api/cache/touched", { body: '{"ttl":"10m"}' });
      expect([touched.status, touched.text]).toEqual([200, '{"key":"touched","value":41}']);
      await until("the counter is in the store", () => store.entries.get("counter")?.body.toString() === "42");
      expect(store.entries.get("lock")?.body.toString()).toBe("41");
    },
    LONG_MS,
  );

  test(
    "serves what is stale while the store fails, for as long as it may, and says so",
    async () => {
      has("a", "[1]");
      const { calls } = await start([...flags(), "--fill-ttl=100ms", "--stale-if-error=1h", "--negative-ttl=0"]);
      expect((await calls.get("a")).text).toBe('{"key":"a","value":[1]}');
      store.answer = () => new Response("mending", { status: 503 });
      await until("the entry is over its TTL", async () => {
        return (await calls.get("a")).headers.get("cache-status")?.includes("stale") === true;
      });
      const stale = await calls.get("a");
      expect([stale.status, stale.text]).toEqual([200, '{"key":"a","value":[1]}']);
      expect(Object.fromEntries(stale.headers)).toMatchObject({
        "cache-control": "no-cache",
        "cache-status": "ServCache; hit; detail=stale-if-error",
      });
      const unknown = await calls.get("never-seen");
      expect(unknown.status).toBe(502);
      expect(unknown.code).toMatch(/^ERR_BACKEND_(UNAVAILABLE|BREAKER_OPEN)$/);
      await calls.remove("a");
      expect((await calls.get("a")).status).toBe(502);
      store.answer = null;
      await until("the store is asked again", async () => (await calls.get("a")).status === 200);
    },
    LONG_MS,
  );

  test(
    "reloads what is read shortly before its TTL ends",
    async () => {
      has("a", "1");
      const { calls } = await start([...flags(), "--fill-ttl=2s", "--refresh-ahead=90%"]);
      expect((await calls.get("a")).text).toBe('{"key":"a","value":1}');
      has("a", "2");
      const texts = new Set<string>();
      await until("the new value is served", async () => {
        const { text } = await calls.get("a");
        texts.add(text);
        return text === '{"key":"a","value":2}';
      });
      expect([...texts]).toEqual(['{"key":"a","value":1}', '{"key":"a","value":2}']);
      expect((await calls.json("/api/stats")).backend).toMatchObject({ absent: 0, failed: 0 });
    },
    LONG_MS,
  );
});

test(
  "a node of 1 thread loses no count of a counter whose TTL ends again and again while it is counted",
  async () => {
    has("counter", "1000");
    const { calls } = await start(["--workers=1", "--fill-ttl=20ms"]);
    let counted = 0;
    const count = async () => {
      for (let turn = 0; turn < 150; turn++) {
        const { status } = await calls.call("PATCH", "/api/cache/counter", { body: '{"increment":1}' });
        expect(status).toBe(200);
        counted += 1;
      }
    };
    await Promise.all([count(), count(), count(), count(), count(), count(), count(), count()]);
    expect((await calls.get("counter")).text).toBe(`{"key":"counter","value":${1000 + counted}}`);
    await until("the sum is in the store", () => store.entries.get("counter")?.body.toString() === `${1000 + counted}`);
  },
  LONG_MS,
);
