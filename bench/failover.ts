import { Redis } from "ioredis";
import { createRedisEngine } from "../src/engine/redis/redis-engine.ts";
import { parseRedisUrl } from "../src/engine/redis/redis-url.ts";
import { slotOf } from "../src/engine/redis/slots.ts";
import { EngineCalls } from "../test/support/engine-calls.ts";
import { RedisCluster } from "../test/support/redis-cluster.ts";
import { RedisSentinels } from "../test/support/redis-sentinel.ts";
import type { RedisServer } from "../test/support/redis-server.ts";
import { markdownTable, median } from "./support/table.ts";
import { requireTools } from "./support/tools.ts";

const ROUNDS = Number(process.env.SERV_CACHE_BENCH_ROUNDS ?? 3);
const EVERY_MS = 5;
const WANTED_MS = 1000;
const KEYS = Array.from({ length: 60 }, (_, at) => `key:${at}`);

interface House {
  readonly url: string;
  readonly primary: RedisServer;
  readonly replica: RedisServer;
  /** Keys of the primary. */
  readonly keys: readonly string[];
  /** Whether those that clients ask name the replica. */
  isNamed(): Promise<boolean>;
  stop(): Promise<void>;
}

/** How long writes fail after a primary's death: what Redis itself takes for it, and what this node adds. */
export async function benchFailover(): Promise<void> {
  await requireTools(["redis-server"]);
  const rows: string[][] = [];
  for (const [name, start] of [
    ["Cluster, node timeout 1 s", startCluster],
    ["Sentinel, down after 0.5 s", startSentinels],
  ] as const) {
    for (const death of ["SIGKILL", "SIGSTOP"] as const) {
      const trials: Trial[] = [];
      for (let round = 0; round < ROUNDS; round++) trials.push(await lose(await start(), death));
      const of = (pick: (trial: Trial) => number) => median(trials.map(pick));
      const beyondMs = of(({ endedMs, takenOverMs }) => endedMs - takenOverMs);
      rows.push([
        ...[name, death, of(({ takenOverMs }) => takenOverMs).toFixed(0), of(({ endedMs }) => endedMs).toFixed(0)],
        ...[
          beyondMs.toFixed(0),
          trials.map(({ endedMs, takenOverMs }) => (endedMs - takenOverMs).toFixed(0)).join(", "),
        ],
        `${WANTED_MS}: ${beyondMs <= WANTED_MS ? "reached" : "MISSED"}`,
      ]);
    }
  }
  console.log(`### Time with errors after a primary's death, in ms, median of ${ROUNDS} rounds\n`);
  const head = [
    "Redis",
    "death",
    "until the replica writes",
    "until ours no longer fail",
    "beyond",
    "rounds",
    "at most",
  ];
  console.log(markdownTable(head, rows));
}

interface Trial {
  /** From the death to the first write that the replica itself takes, when the others know of it. */
  readonly takenOverMs: number;
  /** To the end of the last call of this node that failed. */
  readonly endedMs: number;
}

async function lose(house: House, death: "SIGKILL" | "SIGSTOP"): Promise<Trial> {
  const engine = await createRedisEngine({ target: parseRedisUrl(house.url) });
  const calls = new EngineCalls(engine);
  const direct = new Redis({ port: house.replica.port, maxRetriesPerRequest: null });
  direct.on("error", () => {});
  try {
    for (const key of house.keys) await calls.put(key, "1");
    const startMs = performance.now();
    if (death === "SIGKILL") await house.primary.kill();
    else house.primary.freeze();
    let failedMs = 0;
    let isOver = false;
    // A write of each key again and again, as clients do.
    const writing = house.keys.map(async (key) => {
      while (!isOver) {
        await calls.put(key, "2").catch(() => {
          failedMs = performance.now() - startMs;
        });
        await Bun.sleep(EVERY_MS);
      }
    });
    const [own = ""] = house.keys;
    const isTaken = () =>
      direct.set(`direct:{${own}}`, "1").then(
        () => true,
        () => false,
      );
    while (!(await isTaken()) || !(await house.isNamed())) await Bun.sleep(EVERY_MS);
    const takenOverMs = performance.now() - startMs;
    // Until nothing has failed for a while.
    const endMs = () => Math.max(takenOverMs, failedMs) + 3 * WANTED_MS;
    while (performance.now() - startMs < endMs()) await Bun.sleep(EVERY_MS);
    isOver = true;
    await Promise.all(writing);
    return { takenOverMs, endedMs: Math.max(takenOverMs, failedMs) };
  } finally {
    direct.disconnect();
    if (death === "SIGSTOP") house.primary.thaw();
    await engine.close();
    await house.stop();
  }
}

async function startCluster(): Promise<House> {
  const cluster = await RedisCluster.start({ replicas: true, isPartial: true });
  const [primary, asked, , replica] = cluster.nodes;
  if (primary === undefined || asked === undefined || replica === undefined) throw new Error("no nodes");
  const owners = await Promise.all(KEYS.map((key) => cluster.ownerOf(slotOf(key), asked)));
  const keys = KEYS.filter((_, at) => owners[at] === primary);
  const isNamed = async () => (await cluster.ownerOf(0, asked)) === replica;
  return { url: cluster.url, primary, replica, keys, isNamed, stop: () => cluster.stop() };
}

async function startSentinels(): Promise<House> {
  const sentinels = await RedisSentinels.start();
  const { url, primary, replica } = sentinels;
  const sentinel = new Redis({ port: Number(/:(\d+)/.exec(url)?.[1]) });
  const isNamed = async () => {
    const address = await sentinel.call("SENTINEL", "get-master-addr-by-name", "mymaster");
    return String(address).endsWith(`,${replica.port}`);
  };
  const stop = async () => {
    sentinel.disconnect();
    await sentinels.stop();
  };
  return { url, primary, replica, keys: KEYS, isNamed, stop };
}
