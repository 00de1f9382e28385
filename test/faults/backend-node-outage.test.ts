/** FAULTS 3 to 6: whole nodes before a PostgreSQL that dies, hangs, is slow or answers garbage. */
import { expect } from "bun:test";
import { SQL } from "bun";
import { needing } from "../support/needing.ts";
import { callsOf, type NodeAnswer, type NodeCalls } from "../support/node-calls.ts";
import { startPostgres, type TestServer } from "../support/postgres.ts";
import { randomOf } from "../support/random.ts";
import { endServed, serve } from "../support/serve.ts";
import { startTcpProxy, type TcpProxy } from "../support/tcp-proxy.ts";
import { type TempFolder, tempFolder } from "../support/temp-folder.ts";
import { until } from "../support/until.ts";
import { Ledger, startWriteLoad } from "../support/write-load.ts";

const { afterAll, afterEach, beforeAll, beforeEach, describe, test } = needing("postgres");

/** Starting nodes and servers takes a while where other tests run beside this one. */
const LONG_MS = 300_000;
const TIMEOUT_MS = 300;
/** What an answer may take on top of its timeout, on a machine that is busy with other tests. */
const SLACK_MS = 60_000;
const DEFAULTS = {
  SERV_CACHE_BACKEND_TIMEOUT: `${TIMEOUT_MS}ms`,
  SERV_CACHE_BACKEND_WRITE_TIMEOUT: "1s",
  SERV_CACHE_WRITE_BEHIND_DELAY: "10ms",
};
const WRITERS = { connections: 4, keysEach: 50 };

let postgres: TestServer;
let proxy: TcpProxy;
let folder: TempFolder;
let table = 0;
let sql: SQL;

beforeAll(async () => {
  postgres = await startPostgres(["fsync=off"]);
  proxy = await startTcpProxy(postgres.port);
}, LONG_MS);
afterAll(async () => {
  proxy[Symbol.dispose]();
  await postgres[Symbol.asyncDispose]();
});
beforeEach(() => {
  folder = tempFolder();
  table += 1;
  sql = new SQL({ url: postgres.url, adapter: "postgres", max: 1 });
});
afterEach(async () => {
  await endServed();
  if (postgres.process.pid === 0) await postgres.process.start();
  else process.kill(postgres.process.pid, "SIGCONT");
  proxy.mode = { kind: "pass" };
  proxy.cut();
  await sql.close({ timeout: 0 });
  folder[Symbol.dispose]();
});

/** An end without a checkpoint. SIGKILL would leave the server's children behind, and no new one could start beside them. */
function crash(): Promise<void> {
  return postgres.process.stop();
}

/** A node before the proxy, on a table of its own; it has loaded `hot`, and `cold:…` waits in the database. */
async function startNode(flags: readonly string[]) {
  const node = await serve(
    [
      "--addr=127.0.0.1:0",
      "--entry-memory=64MiB",
      `--data-dir=${folder.path}`,
      `--backend-db=${postgres.url.replace(`:${postgres.port}`, `:${proxy.port}`)}`,
      `--backend-table=entries_${table}`,
      ...flags,
    ],
    DEFAULTS,
  );
  const calls = callsOf(node.port);
  for (const key of ["hot", ...Array.from({ length: 40 }, (_, number) => `cold:${number}`)]) {
    expect((await calls.put(key, `value of ${key}`)).status).toBe(200);
  }
  await drained(calls);
  await calls.call("DELETE", "/api/cache");
  expect((await calls.get("hot")).status).toBe(200);
  return { node, calls };
}

function drained(calls: NodeCalls): Promise<void> {
  return until("all writes are in the database", async () => (await pending(calls)) === 0);
}

async function pending(calls: NodeCalls): Promise<number> {
  return (await calls.json("/api/stats")).outbox.queues.backend?.pending ?? 0;
}

async function stored(): Promise<Map<string, number>> {
  const rows = await sql.unsafe(`SELECT key, value::text AS value FROM entries_${table} WHERE key LIKE 'w%'`);
  return new Map(rows.map(({ key, value }: { key: string; value: string }) => [key, Number(value)]));
}

/** Hits, misses and writes while the database is away. */
async function useWithoutDatabase(calls: NodeCalls, ledger: Ledger, port: number): Promise<void> {
  const load = startWriteLoad(port, ledger, { ...WRITERS, random: randomOf(1) });
  const before = ledger.acknowledgements;
  const hits: NodeAnswer[] = [];
  const misses: NodeAnswer[] = [];
  for (let round = 0; round < 20; round++) {
    const miss = calls.get(`cold:${round}`);
    for (let read = 0; read < 10; read++) hits.push(await calls.get("hot"));
    misses.push(await miss);
  }
  await until("writes go on", () => ledger.acknowledgements > before + 100);
  await load.stop();
  expect([...new Set(hits.map(({ text }) => text))]).toEqual(['{"key":"hot","value":"value of hot"}']);
  // A hit waits for nothing that a miss waits for.
  expect(median(hits.map(({ ms }) => ms))).toBeLessThan(TIMEOUT_MS + median(misses.map(({ ms }) => ms)));
  for (const { status, code, headers, ms } of misses) {
    expect(code).toMatch(/^ERR_BACKEND_(TIMEOUT|UNAVAILABLE|ANSWER|BREAKER_OPEN)$/);
    expect([502, 504]).toContain(status);
    expect(Number(headers.get("retry-after"))).toBeGreaterThanOrEqual(1);
    expect(ms).toBeLessThan(TIMEOUT_MS + SLACK_MS);
  }
  expect([...ledger.answers.keys()]).toEqual([200]);
  expect(ledger.slowestMs).toBeLessThan(SLACK_MS);
  expect((await calls.json("/health")).status).toBe("degraded");
}

/** The database is back: all that was acknowledged reaches it, and misses load again. */
async function recovers(calls: NodeCalls, ledger: Ledger): Promise<void> {
  await drained(calls);
  expect(ledger.mistakes(await stored())).toEqual([]);
  await until("misses load", async () => (await calls.get("cold:39")).status === 200);
  await until("all is well", async () => (await calls.json("/health")).status === "ok");
  expect((await calls.get("cold:0")).text).toBe('{"key":"cold:0","value":"value of cold:0"}');
}

function median(numbers: readonly number[]): number {
  return numbers.toSorted((a, b) => a - b)[numbers.length >> 1] ?? 0;
}

describe.each([1, 2])("a node of %d threads", (workers) => {
  test(
    "serves and takes writes while its database is dead, and brings all of them out when it is back",
    async () => {
      const { node, calls } = await startNode([`--workers=${workers}`]);
      const ledger = new Ledger();
      await crash();
      await useWithoutDatabase(calls, ledger, node.port);
      await postgres.process.start();
      await recovers(calls, ledger);
    },
    LONG_MS,
  );

  test(
    "serves and takes writes while its database hangs, and brings all of them out when it goes on",
    async () => {
      const { node, calls } = await startNode([`--workers=${workers}`]);
      const ledger = new Ledger();
      // The server of a connection is a process of its own: all of them stop.
      process.kill(postgres.process.pid, "SIGSTOP");
      proxy.mode = { kind: "hang" };
      await useWithoutDatabase(calls, ledger, node.port);
      process.kill(postgres.process.pid, "SIGCONT");
      proxy.mode = { kind: "pass" };
      await recovers(calls, ledger);
    },
    LONG_MS,
  );

  test(
    "kills and restarts of the database in the middle of the load lose nothing",
    async () => {
      const { node, calls } = await startNode([`--workers=${workers}`]);
      const ledger = new Ledger();
      const load = startWriteLoad(node.port, ledger, { ...WRITERS, random: randomOf(2) });
      for (let kill = 1; kill <= 3; kill++) {
        const before = ledger.acknowledgements;
        await until("writes go on", () => ledger.acknowledgements > before + 200);
        await crash();
        await postgres.process.start();
      }
      await load.stop();
      await recovers(calls, ledger);
      expect([...ledger.answers.keys()]).toEqual([200]);
    },
    LONG_MS,
  );
});

describe("a node", () => {
  test(
    "that starts before its database says that, without any request, and makes its table when the database comes",
    async () => {
      proxy.mode = { kind: "refuse" };
      const url = postgres.url
        .replace("servcache@", "servcache:hunter2@")
        .replace(`:${postgres.port}`, `:${proxy.port}`);
      const flags = ["--addr=127.0.0.1:0", `--data-dir=${folder.path}`, `--backend-table=entries_${table}`];
      const node = await serve([...flags, `--backend-db=${url}`]);
      const calls = callsOf(node.port);
      await until("it says so", async () => (await calls.json("/health")).backend.status === "degraded");
      const { status, backend } = await calls.json("/health");
      expect([status, backend.detail]).toEqual(["degraded", expect.stringContaining(`127.0.0.1:${proxy.port}`)]);
      expect((await calls.call("GET", "/readyz")).status).toBe(200);
      proxy.mode = { kind: "pass" };
      await until("all is well", async () => (await calls.json("/health")).status === "ok");
      expect(await stored()).toEqual(new Map());
      node.signal("SIGTERM");
      const { exitCode, stderr } = await node.finished();
      expect(exitCode).toBe(0);
      expect(stderr).toContain("backend: degraded: 127.0.0.1");
      expect(stderr).toContain("backend: ok again");
      expect(stderr).not.toContain("hunter2");
    },
    LONG_MS,
  );

  test(
    "waits for a slow database as long as it is told to, hits don't wait, nothing is lost",
    async () => {
      const { node, calls } = await startNode(["--workers=2", "--backend-timeout=20s", "--backend-write-timeout=20s"]);
      const ledger = new Ledger();
      proxy.mode = { kind: "delay", ms: 500 };
      const misses = Promise.all(Array.from({ length: 30 }, (_, number) => calls.get(`cold:${number}`)));
      const load = startWriteLoad(node.port, ledger, { ...WRITERS, random: randomOf(3) });
      const hits: number[] = [];
      for (let read = 0; read < 100; read++) hits.push((await calls.get("hot")).ms);
      const answers = await misses;
      expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 200));
      expect(Math.min(...answers.map(({ ms }) => ms))).toBeGreaterThan(500);
      expect(median(hits)).toBeLessThan(median(answers.map(({ ms }) => ms)));
      await load.stop();
      expect([...ledger.answers.keys()]).toEqual([200]);
      expect(ledger.slowestMs).toBeLessThan(SLACK_MS);
      proxy.mode = { kind: "pass" };
      // What is still held back would come behind what passes now.
      proxy.cut();
      await recovers(calls, ledger);
    },
    LONG_MS,
  );

  test(
    "answers misses before a slow database in time, and does not heap up memory for them",
    async () => {
      const { calls } = await startNode(["--workers=2", "--backend-connections=4"]);
      proxy.mode = { kind: "delay", ms: 2_000 };
      const answers: NodeAnswer[] = [];
      for (let round = 0; round < 5; round++) {
        answers.push(...(await Promise.all(Array.from({ length: 200 }, (_, n) => calls.get(`none:${round}:${n}`)))));
      }
      expect(
        [...new Set(answers.map(({ status }) => status))].filter((status) => ![502, 504].includes(status)),
      ).toEqual([]);
      expect(Math.max(...answers.map(({ ms }) => ms))).toBeLessThan(TIMEOUT_MS + SLACK_MS);
      expect((await calls.json("/api/stats")).backend.waiting).toBe(0);
      proxy.mode = { kind: "pass" };
      await until("misses load", async () => (await calls.get("cold:1")).status === 200);
    },
    LONG_MS,
  );

  test.each([
    ["corrupts every answer", { kind: "corrupt" }],
    ["cuts every answer", { kind: "truncate", bytes: 40 }],
    ["refuses connections", { kind: "refuse" }],
  ] as const)(
    "takes nothing from a database behind a network that %s, and goes on when that is over",
    async (_, mode) => {
      const { node, calls } = await startNode(["--workers=2"]);
      const ledger = new Ledger();
      proxy.mode = mode;
      proxy.cut();
      await useWithoutDatabase(calls, ledger, node.port);
      proxy.mode = { kind: "pass" };
      await recovers(calls, ledger);
    },
    LONG_MS,
  );

  test(
    "writes that reach the database twice, for want of an answer, leave what was acknowledged",
    async () => {
      const { node, calls } = await startNode(["--workers=2"]);
      const ledger = new Ledger();
      const load = startWriteLoad(node.port, ledger, { ...WRITERS, random: randomOf(4) });
      for (let cut = 0; cut < 15; cut++) {
        const before = ledger.acknowledgements;
        await until("writes go on", () => ledger.acknowledgements > before + 50);
        // The statement arrives; its answer does not.
        proxy.mode = { kind: "truncate", bytes: 1_000 + 200 * cut };
        await Bun.sleep(30);
        proxy.mode = { kind: "pass" };
        proxy.cut();
      }
      await load.stop();
      await recovers(calls, ledger);
      expect((await calls.json("/api/stats")).backend.failed_batches).toBeGreaterThan(0);
    },
    LONG_MS,
  );
});
