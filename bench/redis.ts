import { fillRedis, startRedis, startWebdis } from "./support/peers.ts";
import { type Bench, LOAD_CORE, SERVER_CORE, type ServerProcess, withBench } from "./support/process.ts";
import { deleteByPattern, loseRedis, pacedP99Ms, redisBenchmark } from "./support/redis-trials.ts";
import { fill, jsonValue, startNode } from "./support/servcache.ts";
import { count, markdownTable, median, ratio } from "./support/table.ts";
import { requireTools } from "./support/tools.ts";
import { type Load, type RequestShape, runWrk } from "./support/wrk.ts";

const KEYS = 10_000;
const CONNECTIONS = 32;
const ROUNDS = 3;
/** Until hardly anything is compiled any more. */
const WARM_UP_SECONDS = 8;
const SECONDS_PER_RUN = 3;
const DELAY_ROUNDS = 5;
const DELAY_SECONDS = 3;
const VALUE = jsonValue(100);
const LIMIT_BYTES = 1024 ** 3;
const KEY = "key:%06d";

type Workload = "GET" | "POST";

interface Target {
  readonly name: string;
  readonly server: ServerProcess;
  readonly shapes: Readonly<Record<Workload, RequestShape>>;
}

interface Measured {
  readonly perCpuSecond: number;
  readonly perSecond: number;
}

/** ServCache before Redis, with and without near cache, beside Webdis, the memory engine, and Redis alone. */
export async function benchRedis(): Promise<void> {
  await requireTools(["wrk", "webdis", "redis-server", "redis-cli", "redis-benchmark", "taskset"]);
  await withBench(async (bench) => {
    const redis = await startRedis(bench, { core: LOAD_CORE });
    await fillRedis(redis, KEYS, keyOf, VALUE);
    const url = `redis://127.0.0.1:${redis.port}`;
    const options = { core: SERVER_CORE, workers: 1, limitBytes: LIMIT_BYTES };
    const through = await startNode(bench, { ...options, env: { REDIS_URL: url } });
    const near = await startNode(bench, { ...options, env: { REDIS_URL: url, SERV_CACHE_NEAR_CACHE: "256MiB" } });
    const memory = await startNode(bench, options);
    await fill(memory.port, { count: KEYS, keyOf, valueJson: VALUE, expiresAtMs: null, pauseMs: 0 });
    const webdis = await startWebdis(bench, redis);
    const targets: Target[] = [
      { name: "ServCache to Redis", server: through, shapes: REST },
      { name: "ServCache to Redis, near cache", server: near, shapes: REST },
      { name: "ServCache in memory", server: memory, shapes: REST },
      { name: "Webdis", server: webdis, shapes: WEBDIS },
    ];
    console.log(
      `${count(KEYS)} keys, ${VALUE.length}-byte values, ${CONNECTIONS} connections; the server on core ${SERVER_CORE}, ` +
        `Redis and the load on another; median of ${ROUNDS} interleaved runs of ${SECONDS_PER_RUN} s after ` +
        `${WARM_UP_SECONDS} s of warm-up. CPU time is the server's own, without that of Redis.\n`,
    );
    const gets = await measure(bench, "GET", targets, redis);
    await measure(bench, "POST", targets, redis);
    // Webdis' SETs left other values behind.
    await fillRedis(redis, KEYS, keyOf, VALUE);
    await benchDelay(redis, through, (gets[0]?.perSecond ?? 0) / 2);
    await benchTrials(bench, redis, through);
  });
}

async function measure(
  bench: Bench,
  workload: Workload,
  targets: readonly Target[],
  redis: ServerProcess,
): Promise<Measured[]> {
  const runs: Measured[][] = targets.map(() => []);
  for (const target of targets) await run(bench, workload, target, WARM_UP_SECONDS);
  for (let round = 0; round < ROUNDS; round++) {
    for (const [index, target] of targets.entries()) {
      runs[index]?.push(await run(bench, workload, target, SECONDS_PER_RUN));
    }
  }
  const medians = runs.map((all) => ({
    perCpuSecond: median(all.map(({ perCpuSecond }) => perCpuSecond)),
    perSecond: median(all.map(({ perSecond }) => perSecond)),
  }));
  const [memory, webdis] = [medians[2]?.perCpuSecond ?? Number.NaN, medians[3]?.perCpuSecond ?? Number.NaN];
  const rows = targets.map(({ name }, index) => {
    const { perCpuSecond, perSecond } = medians[index] ?? { perCpuSecond: Number.NaN, perSecond: Number.NaN };
    const wanted =
      workload === "GET"
        ? [verdict(perCpuSecond / webdis, 2, "Webdis"), verdict(perCpuSecond / memory, 0.85, "memory")]
        : [];
    return [
      name,
      count(perCpuSecond),
      count(perSecond),
      ratio(perCpuSecond / webdis),
      ratio(perCpuSecond / memory),
      wanted[index] ?? "",
    ];
  });
  console.log(`### ${workload}\n`);
  console.log(
    markdownTable(
      ["server", `${workload}s per CPU-second`, `${workload}s/s`, "÷ Webdis", "÷ memory", "at least"],
      rows,
    ),
  );
  const alone = await redisBenchmark(redis.port, workload === "GET" ? "get" : "set", CONNECTIONS, VALUE.length);
  console.log(`\nRedis alone (\`redis-benchmark -P 1\`): ${count(alone)}/s\n`);
  return medians;
}

async function run(bench: Bench, workload: Workload, { server, shapes }: Target, seconds: number): Promise<Measured> {
  const mix = [{ percent: 100, shape: shapes[workload] }];
  const load: Load = { name: workload, connections: CONNECTIONS, keys: KEYS, expect: "success", mix };
  const { requests, cpuSeconds, requestsPerSecond } = await runWrk(bench, [server], server.port, load, seconds);
  return { perCpuSecond: requests / cpuSeconds, perSecond: requestsPerSecond };
}

/** What ServCache adds to Redis' own p99 at a fixed rate. */
async function benchDelay(redis: ServerProcess, through: ServerProcess, perSecond: number): Promise<void> {
  const options = { perSecond, seconds: DELAY_SECONDS, connections: CONNECTIONS };
  const direct: number[] = [];
  const added: number[] = [];
  for (let round = 0; round < DELAY_ROUNDS; round++) {
    const alone = await pacedP99Ms({ ...options, port: redis.port, request: `GET ${keyOf(42)}\r\n` });
    const request = `GET /api/cache/${keyOf(42)} HTTP/1.1\r\nHost: localhost\r\n\r\n`;
    direct.push(alone);
    added.push((await pacedP99Ms({ ...options, port: through.port, request })) - alone);
  }
  const delay = median(added);
  console.log(`### p99 at ${count(perSecond)} GETs/s, median of ${DELAY_ROUNDS} rounds, in ms\n`);
  const rows = [[median(direct).toFixed(2), `+ ${delay.toFixed(2)}`, `1: ${delay < 1 ? "reached" : "MISSED"}`]];
  console.log(`${markdownTable(["Redis alone", "through ServCache", "less than"], rows)}\n`);
  console.log(`Added in each round: ${added.map((ms) => ms.toFixed(2)).join(", ")}\n`);
}

async function benchTrials(bench: Bench, redis: ServerProcess, through: ServerProcess): Promise<void> {
  const { deleted, tookMs, longestWaitMs, events } = await deleteByPattern(redis, through);
  const lost = await loseRedis(bench, { core: SERVER_CORE, workers: 1, limitBytes: LIMIT_BYTES });
  const isQuick = longestWaitMs < 20 && events === "";
  const rows = [
    [
      `DELETE by pattern of ${count(deleted)} among 1,000,000 keys (${count(tookMs)} ms)`,
      `${longestWaitMs.toFixed(1)} ms; Redis' events above 10 ms: ${events === "" ? "none" : events}`,
      `20 ms, none: ${isQuick ? "reached" : "MISSED"}`,
    ],
    [
      `Redis killed, and back empty, under load: of ${count(lost.accepted)} writes accepted meanwhile`,
      `${count(lost.lost)} lost`,
      `0: ${lost.lost === 0 ? "reached" : "MISSED"}`,
    ],
  ];
  console.log("### Faults and long calls\n");
  console.log(markdownTable(["what", "longest wait of another request, or loss", "at most"], rows));
}

function verdict(value: number, wanted: number, peer: string): string {
  return `${wanted} x ${peer}: ${value >= wanted ? "reached" : "MISSED"}`;
}

function keyOf(index: number): string {
  return `key:${String(index).padStart(6, "0")}`;
}

function one(item: string) {
  return { prefix: "", item, items: 1, separator: "", suffix: "" } as const;
}

const REST: Target["shapes"] = {
  GET: { method: "GET", path: `/api/cache/${KEY}`, variants: KEYS },
  POST: { method: "POST", path: "/api/cache", body: one(`{"key":"${KEY}","value":${VALUE}}`), variants: KEYS },
};

const WEBDIS: Target["shapes"] = {
  GET: { method: "GET", path: `/GET/${KEY}`, variants: KEYS },
  POST: { method: "POST", path: "/", body: one(`SET/${KEY}/${VALUE.slice(1, -1)}`), variants: KEYS },
};
