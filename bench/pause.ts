import { type LoadReport, runOpenLoop } from "./support/load-process.ts";
import { startNginx } from "./support/peers.ts";
import { type Bench, SERVER_CORE, type ServerProcess, withBench } from "./support/process.ts";
import { fill, jsonValue, nodeStats, startNode } from "./support/servcache.ts";
import { count, markdownTable, median } from "./support/table.ts";
import { requireTools } from "./support/tools.ts";
import { type Load, runWrk } from "./support/wrk.ts";

const FEW = 10_000;
const MANY = 5_000_000;
/** How many entries expire at once, and are deleted by a pattern. */
const LEAVING = 1_000_000;
const VALUE = jsonValue(100);
const CONNECTIONS = 32;
const DIGITS = 7;
const SECONDS = 8;
const WARMUP_SECONDS = 1;
const ROUNDS = 3;
/** Of the generator: beyond it, it would measure itself. */
const MOST_REQUESTS_PER_SECOND = 45_000;
const ROOMY_BYTES = 4 * 1024 ** 3;
/** 5 million entries don't fit into it: every put evicts. */
const TIGHT_BYTES = 512 * 1024 ** 2;
/** The side load begins (or what expires is due) so long after the GETs began. */
const SIDE_LOAD_AFTER_MS = 2_000;
const STORM_ENTRIES = 60_000;
const STORM_PAUSE_MS = 40;
const P999_AT_MOST = 1.5;

interface Row {
  readonly name: string;
  readonly reports: readonly LoadReport[];
  readonly note: string;
}

/** Latency of GETs on a fixed schedule: with few and many entries, and while entries expire, are evicted, deleted. */
export async function benchPause(): Promise<void> {
  await requireTools(["wrk", "nginx", "taskset"]);
  await withBench(async (bench) => {
    const few = await startNode(bench, { core: SERVER_CORE, workers: 1, limitBytes: ROOMY_BYTES });
    const many = await startNode(bench, { core: SERVER_CORE, workers: 1, limitBytes: ROOMY_BYTES });
    const nginx = await startNginx(bench, [{ path: "/", status: 200, bytes: 140 }]);
    await store(few, FEW, "key", null);
    await store(many, MANY, "key", null);
    const maximum = await maximumRequestsPerSecond(bench, few);
    const requestsPerSecond = Math.floor(Math.min(MOST_REQUESTS_PER_SECOND, maximum / 2));
    const get = (server: ServerProcess, keys: number) => () => measure(server, keys, requestsPerSecond);
    const [ofNginx = [], ofFew = [], ofMany = []] = await interleaved([
      get(nginx, FEW),
      get(few, FEW),
      get(many, MANY),
    ]);
    await few.stop();
    const rows: Row[] = [
      { name: "nginx, constant answer", reports: ofNginx, note: "noise of generator and machine" },
      { name: `${count(FEW)} entries`, reports: ofFew, note: "" },
      { name: `${count(MANY)} entries`, reports: ofMany, note: "" },
      await whileExpiring(many, requestsPerSecond),
      await whileDeleting(many, requestsPerSecond),
    ];
    await many.stop();
    rows.push(await whileEvicting(bench, requestsPerSecond));
    print(rows, requestsPerSecond, maximum);
  });
}

function measure(server: ServerProcess, keys: number, requestsPerSecond: number): Promise<LoadReport> {
  return runOpenLoop(server, {
    pathPrefix: "/api/cache/key:",
    digits: DIGITS,
    keys,
    requestsPerSecond,
    seconds: SECONDS,
    warmupSeconds: WARMUP_SECONDS,
    connections: CONNECTIONS,
  });
}

async function interleaved(runs: readonly (() => Promise<LoadReport>)[]): Promise<LoadReport[][]> {
  const reports = runs.map((): LoadReport[] => []);
  for (let round = 0; round < ROUNDS; round++) {
    for (const [index, run] of runs.entries()) reports[index]?.push(await run());
  }
  return reports;
}

async function whileExpiring(server: ServerProcess, requestsPerSecond: number): Promise<Row> {
  const fillingMs = 15_000;
  const expiresAtMs = Date.now() + fillingMs;
  await store(server, LEAVING, "expiring", expiresAtMs);
  const early = expiresAtMs - Date.now() - SIDE_LOAD_AFTER_MS;
  if (early < 0) throw new Error(`storing ${LEAVING} entries took longer than ${fillingMs} ms`);
  await Bun.sleep(early);
  const report = await measure(server, MANY, requestsPerSecond);
  return { name: `while ${count(LEAVING)} expire at once`, reports: [report], note: "" };
}

async function whileDeleting(server: ServerProcess, requestsPerSecond: number): Promise<Row> {
  await store(server, LEAVING, "doomed", null);
  const load = measure(server, MANY, requestsPerSecond);
  await Bun.sleep(SIDE_LOAD_AFTER_MS);
  const startMs = performance.now();
  const url = `http://127.0.0.1:${server.port}/api/cache?pattern=doomed:*`;
  const answer = await (await fetch(url, { method: "DELETE" })).text();
  const note = `${answer} after ${count(performance.now() - startMs)} ms`;
  return { name: `while a pattern deletes ${count(LEAVING)}`, reports: [await load], note };
}

async function whileEvicting(bench: Bench, requestsPerSecond: number): Promise<Row> {
  const server = await startNode(bench, { core: SERVER_CORE, workers: 1, limitBytes: TIGHT_BYTES });
  await store(server, MANY, "key", null);
  const url = `http://127.0.0.1:${server.port}`;
  const before = await nodeStats(url);
  const load = measure(server, MANY, requestsPerSecond);
  await Bun.sleep(SIDE_LOAD_AFTER_MS);
  await store(server, STORM_ENTRIES, "storm", null, STORM_PAUSE_MS);
  const report = await load;
  const after = await nodeStats(url);
  const note = `${count(after.evictions - before.evictions)} evicted; ${count(report.notFound)} of the GETs found nothing`;
  return { name: "while puts evict", reports: [report], note };
}

function store(
  server: ServerProcess,
  entries: number,
  prefix: string,
  expiresAtMs: number | null,
  pauseMs = 0,
): Promise<void> {
  const keyOf = (index: number) => `${prefix}:${String(index).padStart(DIGITS, "0")}`;
  return fill(server.port, { count: entries, keyOf, valueJson: VALUE, expiresAtMs, pauseMs });
}

/** Of a closed loop: what wrk reaches. */
async function maximumRequestsPerSecond(bench: Bench, server: ServerProcess): Promise<number> {
  const shape = { method: "GET", path: "/api/cache/key:0%06d", variants: FEW } as const;
  const load: Load = {
    name: "maximum",
    mix: [{ percent: 100, shape }],
    connections: CONNECTIONS,
    keys: FEW,
    expect: "success",
  };
  await runWrk(bench, [server], server.port, load, 1);
  return (await runWrk(bench, [server], server.port, load, 2)).requestsPerSecond;
}

function print(rows: readonly Row[], requestsPerSecond: number, maximum: number): void {
  const of = (row: Row | undefined, field: keyof LoadReport) =>
    median(row?.reports.map((report) => report[field]) ?? []);
  const base = of(rows[1], "p999Ms");
  console.log(
    `GETs at ${count(requestsPerSecond)} requests/s (the node's maximum: ${count(maximum)}; the generator's bound: ` +
      `${count(MOST_REQUESTS_PER_SECOND)}) over ${CONNECTIONS} connections for ${SECONDS} s; ms from when a request was ` +
      `due to its answer; the first three rows: medians of ${ROUNDS} interleaved runs.\n`,
  );
  const cells = rows.map((row) => [
    row.name,
    ...(["p50Ms", "p99Ms", "p999Ms", "maxMs"] as const).map((field) => of(row, field).toFixed(3)),
    `${count(of(row, "serverWaitedMs"))} + ${count(of(row, "generatorWaitedMs"))}`,
    `${(of(row, "p999Ms") / base).toFixed(2)} x`,
    row.note,
  ]);
  console.log(
    markdownTable(
      [
        "GETs",
        "p50",
        "p99",
        "p99.9",
        "max",
        "server + generator without a core",
        `p99.9 ÷ ${count(FEW)} entries`,
        "note",
      ],
      cells,
    ),
  );
  const growth = of(rows[2], "p999Ms") / base;
  const reached = growth <= P999_AT_MOST ? "reached" : "MISSED";
  console.log(
    `\np99.9 with ${count(MANY)} entries ÷ with ${count(FEW)}: ${growth.toFixed(2)} (at most 1.5: ${reached})`,
  );
}
