import { join } from "node:path";
import { startHttpStore } from "../test/support/http-store.ts";
import { startMariaDb } from "../test/support/mariadb.ts";
import { startPostgres, type TestServer } from "../test/support/postgres.ts";
import { type Bench, LOAD_CORE, SERVER_CORE, type ServerProcess, withBench } from "./support/process.ts";
import { fill, jsonValue, startNode } from "./support/servcache.ts";
import { count, markdownTable, median, ratio } from "./support/table.ts";
import { requireTools } from "./support/tools.ts";
import { type Load, runWrk } from "./support/wrk.ts";

const KEYS = 100_000;
const CONNECTIONS = 32;
const ROUNDS = 3;
/** Until hardly anything is compiled any more. */
const WARM_UP_SECONDS = 10;
const SECONDS_PER_RUN = 3;
const VALUE = jsonValue(100);
const LIMIT_BYTES = 1024 ** 3;
const WAITING_ROWS = Number(process.env.SERV_CACHE_BENCH_ROWS ?? 1_000_000);
const ROWS_PER_STATEMENT = 500;
const DRAIN_LIMIT_MS = 180_000;
const TRICKLE_PER_SECOND = 100;

/** Read-through and write-behind beside the same node without a backend, and beside psql. */
export async function benchBackend(): Promise<void> {
  await requireTools(["wrk", "taskset", "psql"]);
  await withBench(async (bench) => {
    const postgres = await startPostgres();
    pinTo(LOAD_CORE, postgres.process.pid);
    const mariadb = await startMariaDb();
    pinTo(LOAD_CORE, mariadb.process.pid);
    const store = startHttpStore();
    try {
      await benchPosts(bench, { postgres, mariadb, storeUrl: store.url });
      await benchDrain(bench, postgres);
      await benchMisses(bench, postgres);
      await benchHang(bench, postgres);
    } finally {
      store[Symbol.dispose]();
      await postgres[Symbol.asyncDispose]();
      await mariadb[Symbol.asyncDispose]();
    }
  });
}

interface Databases {
  readonly postgres: TestServer;
  readonly mariadb: TestServer;
  readonly storeUrl: string;
}

async function benchPosts(bench: Bench, { postgres, mariadb, storeUrl }: Databases): Promise<void> {
  const variants: readonly (readonly [string, Record<string, string>])[] = [
    ["no backend", {}],
    ["PostgreSQL", { SERV_CACHE_BACKEND_DB: postgres.url }],
    ["PostgreSQL, outbox full", { SERV_CACHE_BACKEND_DB: postgres.url, SERV_CACHE_OUTBOX_SYNC: "full" }],
    ["MariaDB", { SERV_CACHE_BACKEND_DB: mariadb.url }],
    ["SQLite", { SERV_CACHE_BACKEND_DB: `sqlite:${join(bench.folder, "posts.db")}` }],
    ["HTTP", { SERV_CACHE_BACKEND_DB: storeUrl }],
  ];
  console.log(
    `POST of ${VALUE.length}-byte values to ${count(KEYS)} keys, ${CONNECTIONS} connections, node of one thread on core ` +
      `${SERVER_CORE}, load and databases on another; median of ${ROUNDS} interleaved runs of ${SECONDS_PER_RUN} s after ` +
      `${WARM_UP_SECONDS} s of warm-up. CPU time is counted until nothing waits any more: the writing to the database is in it.\n`,
  );
  const measured = new Map<string, number[]>();
  const rates = new Map<string, number[]>();
  for (let round = 0; round < ROUNDS; round++) {
    for (const [name, env] of variants) {
      const node = await startNode(bench, { core: SERVER_CORE, workers: 1, limitBytes: LIMIT_BYTES, env });
      await runWrk(bench, [node], node.port, postLoad(), WARM_UP_SECONDS);
      await drained(node);
      const before = node.cpuSeconds();
      const run = await runWrk(bench, [node], node.port, postLoad(), SECONDS_PER_RUN);
      await drained(node);
      add(measured, name, run.requests / (node.cpuSeconds() - before));
      add(rates, name, run.requestsPerSecond);
      await node.stop();
    }
  }
  const alone = median(measured.get("no backend") ?? []);
  const rows = variants.map(([name]) => {
    const own = median(measured.get(name) ?? []);
    const wanted = name === "PostgreSQL" ? `0.5 x: ${own / alone >= 0.5 ? "reached" : "MISSED"}` : "";
    return [name, count(own), count(median(rates.get(name) ?? [])), ratio(own / alone), wanted];
  });
  console.log(`### POST\n`);
  console.log(
    `${markdownTable(["behind the cache", "POSTs per CPU-second", "POSTs/s", "÷ no backend", "at least"], rows)}\n`,
  );
}

/** Rows that wait, written by a node that starts, and by psql. */
async function benchDrain(bench: Bench, postgres: TestServer): Promise<void> {
  const env = {
    SERV_CACHE_BACKEND_DB: postgres.url,
    SERV_CACHE_DATA_DIR: join(bench.folder, "drain"),
    SERV_CACHE_BACKEND_TABLE: "drained",
    SERV_CACHE_OUTBOX_MAX: "4GiB",
    SERV_CACHE_DRAIN_TIMEOUT: "0",
  };
  const options = { core: SERVER_CORE, workers: 1, limitBytes: LIMIT_BYTES };
  const waiting = await startNode(bench, { ...options, env: { ...env, SERV_CACHE_WRITE_BEHIND_DELAY: "1h" } });
  await fill(waiting.port, { count: WAITING_ROWS, keyOf, valueJson: VALUE, expiresAtMs: null, pauseMs: 0 });
  await waiting.stop();
  const started = performance.now();
  const node = await startNode(bench, { ...options, env: { ...env, SERV_CACHE_WRITE_BEHIND_DELAY: "0" } });
  const cpuBefore = node.cpuSeconds();
  await drained(node);
  const seconds = (performance.now() - started) / 1000;
  const cpuSeconds = node.cpuSeconds() - cpuBefore;
  await node.stop();
  const rows = psql(postgres, "SELECT count(*) FROM drained").trim();
  if (Number(rows) !== WAITING_ROWS) throw new Error(`${rows} rows were drained, not ${WAITING_ROWS}`);

  const script = join(bench.folder, "upserts.sql");
  await Bun.write(script, upserts());
  psql(postgres, "CREATE TABLE by_psql (LIKE drained INCLUDING ALL)");
  const psqlStarted = performance.now();
  psql(postgres, null, script);
  const psqlSeconds = (performance.now() - psqlStarted) / 1000;

  const share = psqlSeconds / seconds;
  console.log(`### ${count(WAITING_ROWS)} rows that wait, drained into PostgreSQL\n`);
  console.log(
    `${markdownTable(
      ["by", "seconds", "rows/s", "÷ psql", "at least"],
      [
        [
          `ServCache (start included; ${cpuSeconds.toFixed(1)} s of CPU)`,
          seconds.toFixed(1),
          count(WAITING_ROWS / seconds),
          ratio(share),
          `0.5 x: ${share >= 0.5 ? "reached" : "MISSED"}`,
        ],
        [
          `psql, ${ROWS_PER_STATEMENT} rows per statement`,
          psqlSeconds.toFixed(1),
          count(WAITING_ROWS / psqlSeconds),
          "",
          "",
        ],
      ],
    )}\n`,
  );
}

async function benchMisses(bench: Bench, postgres: TestServer): Promise<void> {
  const table = { SERV_CACHE_BACKEND_DB: postgres.url, SERV_CACHE_BACKEND_TABLE: "drained" };
  const sql = {
    SERV_CACHE_BACKEND_DB: postgres.url,
    SERV_CACHE_BACKEND_READ_SQL: "SELECT value FROM drained WHERE key = :key",
    SERV_CACHE_WRITE_MODE: "none",
  };
  const rows: string[][] = [];
  for (const [name, env] of [
    ["loads of one turn in one query", table],
    ["one query per miss", sql],
  ] as const) {
    const node = await startNode(bench, {
      core: SERVER_CORE,
      workers: 1,
      limitBytes: LIMIT_BYTES,
      env: { ...env, SERV_CACHE_FILL_TTL: "1ms" },
    });
    await runWrk(bench, [node], node.port, getLoad("GET miss", WAITING_ROWS), WARM_UP_SECONDS);
    const before = await backendStats(node);
    const run = await runWrk(bench, [node], node.port, getLoad("GET miss", WAITING_ROWS), SECONDS_PER_RUN);
    const after = await backendStats(node);
    const queries = after.queries - before.queries;
    const loads = after.loads - before.loads;
    rows.push([name, count(run.requests / run.cpuSeconds), count(run.requestsPerSecond), (loads / queries).toFixed(1)]);
    await node.stop();
  }
  console.log(`### GETs that have to be loaded from PostgreSQL\n`);
  console.log(`${markdownTable(["", "GETs per CPU-second", "GETs/s", "loads per query"], rows)}\n`);
}

/** GET hits while the database is stopped, with writes and misses that want something of it. */
async function benchHang(bench: Bench, postgres: TestServer): Promise<void> {
  const env = { SERV_CACHE_BACKEND_DB: postgres.url, SERV_CACHE_BACKEND_TABLE: "hung" };
  const node = await startNode(bench, { core: SERVER_CORE, workers: 1, limitBytes: LIMIT_BYTES, env });
  await fill(node.port, { count: KEYS, keyOf, valueJson: VALUE, expiresAtMs: null, pauseMs: 0 });
  await drained(node);
  await runWrk(bench, [node], node.port, getLoad("GET hit", KEYS), WARM_UP_SECONDS);
  const rates: { readonly calm: number[]; readonly hung: number[] } = { calm: [], hung: [] };
  for (let round = 0; round < ROUNDS; round++) {
    for (const state of ["calm", "hung"] as const) {
      postgres.process.signal(state === "hung" ? "SIGSTOP" : "SIGCONT");
      const trickle = startTrickle(node);
      const run = await runWrk(bench, [node], node.port, getLoad("GET hit", KEYS), SECONDS_PER_RUN);
      await trickle.stop();
      rates[state].push(run.requestsPerSecond);
    }
  }
  postgres.process.signal("SIGCONT");
  const share = median(rates.hung) / median(rates.calm);
  console.log(
    `### GET hits while the database hangs, beside ${TRICKLE_PER_SECOND} writes and as many misses a second\n\n` +
      `${markdownTable(
        ["database", "GETs/s", "÷ undisturbed", "at least"],
        [
          ["answers", count(median(rates.calm)), "", ""],
          ["hangs (SIGSTOP)", count(median(rates.hung)), ratio(share), `0.9 x: ${share >= 0.9 ? "reached" : "MISSED"}`],
        ],
      )}\n`,
  );
  await node.stop();
}

function startTrickle(node: ServerProcess): { stop(): Promise<void> } {
  const base = `http://127.0.0.1:${node.port}/api/cache`;
  const pending = new Set<Promise<unknown>>();
  let number = 0;
  const timer = setInterval(() => {
    number += 1;
    const body = JSON.stringify({ key: `trickle:${number}`, value: number });
    for (const call of [fetch(base, { method: "POST", body }), fetch(`${base}/missing:${number}`)]) {
      const done = call.then((answer) => answer.arrayBuffer());
      pending.add(done);
      void done.finally(() => pending.delete(done));
    }
  }, 1000 / TRICKLE_PER_SECOND);
  return {
    async stop() {
      clearInterval(timer);
      await Promise.all(pending);
    },
  };
}

interface BackendStats {
  readonly pending: number;
  readonly loads: number;
  readonly queries: number;
}

async function backendStats(node: ServerProcess): Promise<BackendStats> {
  const answer: unknown = await (await fetch(`http://127.0.0.1:${node.port}/api/stats`)).json();
  const number = (...path: string[]): number => {
    let value = answer;
    for (const name of path) value = typeof value === "object" && value !== null ? Reflect.get(value, name) : undefined;
    return typeof value === "number" ? value : 0;
  };
  return {
    pending: number("outbox", "queues", "backend", "pending"),
    loads: number("backend", "loads"),
    queries: number("backend", "queries"),
  };
}

/** Until nothing waits for the database. */
async function drained(node: ServerProcess): Promise<void> {
  const deadlineMs = Date.now() + DRAIN_LIMIT_MS;
  while ((await backendStats(node)).pending > 0) {
    if (Date.now() > deadlineMs) throw new Error("the outbox was not drained in time");
    await Bun.sleep(50);
  }
}

function postLoad(): Load {
  const item = `{"key":"key:%06d","value":${VALUE}}`;
  const body = { prefix: "", item, items: 1, separator: "", suffix: "" };
  const shape = { method: "POST", path: "/api/cache", body, variants: KEYS } as const;
  return { name: "POST", mix: [{ percent: 100, shape }], connections: CONNECTIONS, keys: KEYS, expect: "success" };
}

function getLoad(name: string, keys: number): Load {
  const shape = { method: "GET", path: "/api/cache/key:%06d", variants: keys } as const;
  return { name, mix: [{ percent: 100, shape }], connections: CONNECTIONS, keys, expect: "success" };
}

function keyOf(index: number): string {
  return `key:${String(index).padStart(6, "0")}`;
}

function upserts(): string {
  const statements: string[] = [];
  for (let first = 0; first < WAITING_ROWS; first += ROWS_PER_STATEMENT) {
    const rows: string[] = [];
    for (let index = first; index < Math.min(first + ROWS_PER_STATEMENT, WAITING_ROWS); index++) {
      rows.push(`('${keyOf(index)}', '${VALUE}', NULL, 'application/json', ${index + 1}, now())`);
    }
    statements.push(
      `INSERT INTO by_psql AS stored (key, value, bytes, content_type, version, updated_at) VALUES ${rows.join(",")} ` +
        "ON CONFLICT (key) DO UPDATE SET value = excluded.value, bytes = excluded.bytes, content_type = excluded.content_type, " +
        "version = excluded.version, updated_at = excluded.updated_at WHERE stored.version < excluded.version;",
    );
  }
  return statements.join("\n");
}

function psql(postgres: TestServer, query: string | null, file = ""): string {
  const what = query === null ? ["-q", "-f", file] : ["-At", "-c", query];
  const done = Bun.spawnSync(["psql", "-X", "-v", "ON_ERROR_STOP=1", ...what, postgres.url]);
  if (done.exitCode !== 0) throw new Error(`psql failed: ${done.stderr.toString()}`);
  return done.stdout.toString();
}

function pinTo(core: number, pid: number): void {
  const done = Bun.spawnSync(["taskset", "-acp", String(core), String(pid)]);
  if (done.exitCode !== 0) throw new Error(`taskset failed: ${done.stderr.toString()}`);
}

function add(lists: Map<string, number[]>, name: string, value: number): void {
  lists.set(name, [...(lists.get(name) ?? []), value]);
}
