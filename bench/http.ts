import { fillRedis, startNginx, startNodeMap, startRedis, startWebdis } from "./support/peers.ts";
import { SERVER_CORE, type ServerProcess, withBench } from "./support/process.ts";
import { fill, jsonValue, startNode } from "./support/servcache.ts";
import { count, markdownTable, median, ratio } from "./support/table.ts";
import { requireTools } from "./support/tools.ts";
import { type Load, type RequestShape, runWrk } from "./support/wrk.ts";

const KEYS = 100_000;
const CONNECTIONS = 32;
const ROUNDS = 3;
const WARM_UP_SECONDS = 4;
const SECONDS_PER_RUN = 2;
const GET_VALUE = jsonValue(250);
const POST_VALUE = jsonValue(100);
const BATCH_SIZE = 100;
const LIMIT_BYTES = 1024 ** 3;

const WORKLOADS = ["GET hit", "GET miss", "POST", "95/5 mix", "batch of 100"] as const;
type Workload = (typeof WORKLOADS)[number];

/** What the issue asks for: at least so many times the peer, or so many keys per CPU-second. */
const TARGETS: Partial<Record<Workload, readonly { peer: string; atLeast: number }[]>> = {
  "GET hit": [
    { peer: "nginx", atLeast: 0.75 },
    { peer: "node:http + Map", atLeast: 1.6 },
    { peer: "Webdis", atLeast: 2 },
  ],
  POST: [{ peer: "nginx", atLeast: 0.55 }],
};
const BATCH_TARGET_KEYS_PER_CPU_SECOND = 1_000_000;

interface Target {
  readonly name: string;
  readonly port: number;
  /** All whose CPU time counts. */
  readonly processes: readonly ServerProcess[];
  load(workload: Workload): Load;
}

/** Requests per CPU-second of the server, beside nginx, Webdis with Redis, and node:http over a Map. */
export async function benchHttp(): Promise<void> {
  await requireTools(["wrk", "nginx", "webdis", "redis-server", "redis-cli", "node", "taskset"]);
  await withBench(async (bench) => {
    const node = await startNode(bench, { core: SERVER_CORE, workers: 1, limitBytes: LIMIT_BYTES });
    const map = await startNodeMap(bench);
    const redis = await startRedis(bench);
    const webdis = await startWebdis(bench, redis);
    const nginx = await startNginx(bench, nginxAnswers());
    for (const { port } of [node, map]) {
      await fill(port, { count: KEYS, keyOf, valueJson: GET_VALUE, expiresAtMs: null, pauseMs: 0 });
    }
    await fillRedis(redis, KEYS, keyOf, GET_VALUE.slice(1, -1));
    const targets: Target[] = [
      { name: "ServCache", port: node.port, processes: [node], load: restLoad },
      { name: "nginx", port: nginx.port, processes: [nginx], load: restLoad },
      { name: "node:http + Map", port: map.port, processes: [map], load: restLoad },
      { name: "Webdis", port: webdis.port, processes: [webdis, redis], load: webdisLoad },
    ];
    console.log(
      `${count(KEYS)} keys, ${GET_VALUE.length}-byte values (POST: ${POST_VALUE.length}), ${CONNECTIONS} connections; ` +
        `server on core ${SERVER_CORE}, wrk on another; median of ${ROUNDS} interleaved runs of ${SECONDS_PER_RUN} s after ${WARM_UP_SECONDS} s of warm-up. ` +
        "nginx answers with constant bodies of the same size; Webdis counts Redis's CPU time too.\n",
    );
    for (const workload of WORKLOADS) {
      const rates = new Map(
        targets.map((target) => [target.name, { perCpuSecond: [] as number[], perSecond: [] as number[] }]),
      );
      // Compilers work for the first seconds of a new kind of load, in the server's own CPU time.
      for (const target of targets) {
        await runWrk(bench, target.processes, target.port, target.load(workload), WARM_UP_SECONDS);
      }
      for (let round = 0; round < ROUNDS; round++) {
        for (const target of targets) {
          const run = await runWrk(bench, target.processes, target.port, target.load(workload), SECONDS_PER_RUN);
          rates.get(target.name)?.perCpuSecond.push(run.requests / run.cpuSeconds);
          rates.get(target.name)?.perSecond.push(run.requestsPerSecond);
        }
      }
      printWorkload(
        workload,
        [...rates].map(([name, { perCpuSecond, perSecond }]) => ({
          name,
          perCpuSecond: median(perCpuSecond),
          perSecond: median(perSecond),
        })),
      );
    }
  });
}

interface Measured {
  readonly name: string;
  readonly perCpuSecond: number;
  readonly perSecond: number;
}

function printWorkload(workload: Workload, measured: readonly Measured[]): void {
  const own = measured[0]?.perCpuSecond ?? Number.NaN;
  const rows = measured.map(({ name, perCpuSecond, perSecond }) => {
    const wanted = TARGETS[workload]?.find(({ peer }) => peer === name)?.atLeast;
    const reached = wanted === undefined ? "" : verdict(own / perCpuSecond >= wanted);
    const figure = wanted === undefined ? "" : `${wanted} x: ${reached}`;
    return [name, count(perCpuSecond), count(perSecond), name === "ServCache" ? "" : ratio(own / perCpuSecond), figure];
  });
  console.log(`### ${workload}\n`);
  console.log(markdownTable(["server", "requests per CPU-second", "requests/s", "ServCache ÷ it", "at least"], rows));
  if (workload === "batch of 100") {
    const keys = own * BATCH_SIZE;
    const reached = verdict(keys >= BATCH_TARGET_KEYS_PER_CPU_SECOND);
    console.log(`\nServCache: ${count(keys)} keys per CPU-second (at least 1,000,000: ${reached})`);
  }
  console.log("");
}

function verdict(reached: boolean): string {
  return reached ? "reached" : "MISSED";
}

function keyOf(index: number): string {
  return `key:${String(index).padStart(6, "0")}`;
}

const KEY = "key:%06d";
const EVERY_KEY = { variants: KEYS } as const;

/** ServCache's REST API, and the same on node:http. */
function restLoad(workload: Workload): Load {
  const get: RequestShape = { method: "GET", path: `/api/cache/${KEY}`, ...EVERY_KEY };
  const post: RequestShape = {
    method: "POST",
    path: "/api/cache",
    body: one(`{"key":"${KEY}","value":${POST_VALUE}}`),
    ...EVERY_KEY,
  };
  const update: RequestShape = { ...post, body: one(`{"key":"${KEY}","value":${GET_VALUE}}`) };
  const batch: RequestShape = {
    method: "POST",
    path: "/api/batch",
    body: {
      prefix: '{"operations":[',
      item: `{"op":"get","key":"${KEY}"}`,
      items: BATCH_SIZE,
      separator: ",",
      suffix: "]}",
    },
    variants: 1000,
  };
  const miss: RequestShape = { ...get, path: `/api/cache/nokey:%06d` };
  return load(workload, { get, post, update, batch, miss });
}

function webdisLoad(workload: Workload): Load {
  const get: RequestShape = { method: "GET", path: `/GET/${KEY}`, ...EVERY_KEY };
  const post: RequestShape = {
    method: "POST",
    path: "/",
    body: one(`SET/${KEY}/${POST_VALUE.slice(1, -1)}`),
    ...EVERY_KEY,
  };
  const update: RequestShape = { ...post, body: one(`SET/${KEY}/${GET_VALUE.slice(1, -1)}`) };
  const batch: RequestShape = {
    method: "POST",
    path: "/",
    body: { prefix: "MGET/", item: KEY, items: BATCH_SIZE, separator: "/", suffix: "" },
    variants: 1000,
  };
  const miss: RequestShape = { ...get, path: `/GET/nokey:%06d` };
  // Webdis answers 200 with null where there is no key.
  return { ...load(workload, { get, post, update, batch, miss }), expect: "success" };
}

function load(workload: Workload, shapes: Record<"get" | "post" | "update" | "batch" | "miss", RequestShape>): Load {
  const base = { name: workload, connections: CONNECTIONS, keys: KEYS, expect: "success" } as const;
  switch (workload) {
    case "GET hit":
      return { ...base, mix: [{ percent: 100, shape: shapes.get }] };
    case "GET miss":
      return { ...base, mix: [{ percent: 100, shape: shapes.miss }], expect: "not-found" };
    case "POST":
      return { ...base, mix: [{ percent: 100, shape: shapes.post }] };
    case "95/5 mix":
      return {
        ...base,
        mix: [
          { percent: 95, shape: shapes.get },
          { percent: 5, shape: shapes.update },
        ],
      };
    case "batch of 100":
      return { ...base, mix: [{ percent: 100, shape: shapes.batch }] };
  }
}

function one(item: string) {
  return { prefix: "", item, items: 1, separator: "", suffix: "" } as const;
}

/** Bodies as long as ServCache's. */
function nginxAnswers() {
  const hit = `{"key":"${keyOf(0)}","value":${GET_VALUE}}`.length;
  const batchItem = `{"status":200,"key":"${keyOf(0)}","value":${GET_VALUE}},`.length;
  return [
    { path: "/api/cache/key:", status: 200, bytes: hit },
    { path: "/api/cache/nokey:", status: 404, bytes: 120 },
    { path: "= /api/cache", status: 200, bytes: '{"status":"success"}'.length },
    { path: "= /api/batch", status: 200, bytes: batchItem * BATCH_SIZE },
  ];
}
