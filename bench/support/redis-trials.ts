/** Single trials of a node before Redis: delay at a fixed rate, a long pattern delete, the loss of Redis. */
import { quietPort } from "../../test/support/free-port.ts";
import { until } from "../../test/support/until.ts";
import { startRedis } from "./peers.ts";
import { type Bench, LOAD_CORE, pinned, type ServerProcess } from "./process.ts";
import { type NodeOptions, startNode } from "./servcache.ts";
import { toolPath } from "./tools.ts";

export interface PacedOptions {
  readonly port: number;
  /** Sent as it is; the answer has to come in one piece. */
  readonly request: string;
  readonly perSecond: number;
  readonly seconds: number;
  readonly connections: number;
}

/** p99 in ms of requests at a fixed rate, waits for a free connection included. The load is a process of its own. */
export async function pacedP99Ms(options: PacedOptions): Promise<number> {
  const program = [process.execPath, `${import.meta.dirname}/paced-process.ts`, JSON.stringify(options)];
  const child = Bun.spawn(pinned(program, LOAD_CORE), { stdout: "pipe", stderr: "inherit" });
  const printed = await new Response(child.stdout).text();
  if ((await child.exited) !== 0) throw new Error("the paced load failed");
  return Number(printed);
}

/** Requests per second of Redis itself, without pipelining. */
export async function redisBenchmark(
  port: number,
  command: "get" | "set",
  connections: number,
  valueBytes: number,
): Promise<number> {
  const options = ["-p", port, "-P", 1, "-c", connections, "-n", 200_000, "-d", valueBytes, "-t", command, "--csv"];
  const child = Bun.spawn([toolPath("redis-benchmark"), ...options.map(String)], { stdout: "pipe" });
  const printed = await new Response(child.stdout).text();
  return Number(/^"(?:GET|SET)","([\d.]+)"/m.exec(printed)?.[1] ?? Number.NaN);
}

export interface PatternDelete {
  readonly deleted: number;
  readonly tookMs: number;
  readonly longestWaitMs: number;
  /** What Redis' latency monitor saw above 10 ms; empty = nothing. */
  readonly events: string;
}

/** Deletes 100,000 among a million keys while another client asks for a key again and again. */
export async function deleteByPattern(redis: ServerProcess, through: ServerProcess): Promise<PatternDelete> {
  const cli = (...words: string[]) =>
    Bun.spawnSync([toolPath("redis-cli"), "-p", String(redis.port), ...words])
      .stdout.toString()
      .trim();
  const { deleted, tookMs, longestWaitMs } = await (async () => {
    cli("DEBUG", "POPULATE", "900000", "other");
    cli("DEBUG", "POPULATE", "100000", "match");
    cli("CONFIG", "SET", "latency-monitor-threshold", "10");
    cli("LATENCY", "RESET");
    return whileAsking(`http://127.0.0.1:${through.port}/api/cache`);
  })();
  return { deleted, tookMs, longestWaitMs, events: cli("LATENCY", "LATEST").replaceAll("\n", " ") };
}

async function whileAsking(cacheUrl: string): Promise<Omit<PatternDelete, "events">> {
  let longestWaitMs = 0;
  let isOver = false;
  const asking = (async () => {
    while (!isOver) {
      const startMs = performance.now();
      await (await fetch(`${cacheUrl}/key:000001`)).text();
      longestWaitMs = Math.max(longestWaitMs, performance.now() - startMs);
      await Bun.sleep(1);
    }
  })();
  const startMs = performance.now();
  const answer = await (await fetch(`${cacheUrl}?pattern=match:*`, { method: "DELETE" })).text();
  const tookMs = performance.now() - startMs;
  isOver = true;
  await asking;
  return { deleted: Number(/"deleted":(\d+)/.exec(answer)?.[1] ?? Number.NaN), tookMs, longestWaitMs };
}

const WRITERS = 16;
const PHASE_MS = 1_500;

/** Kills Redis under write load, starts it again empty, and looks in it for what was accepted while it was away. */
export async function loseRedis(
  bench: Bench,
  options: NodeOptions,
): Promise<{ readonly accepted: number; readonly lost: number }> {
  const port = quietPort();
  const first = await startRedis(bench, { core: LOAD_CORE, port });
  const node = await startNode(bench, { ...options, env: { REDIS_URL: `redis://127.0.0.1:${port}` } });
  const api = `http://127.0.0.1:${node.port}`;
  const accepted: string[] = [];
  let isAway = false;
  let isOver = false;
  let next = 0;
  const writer = async () => {
    while (!isOver) {
      const key = `write:${next++}`;
      const began = isAway;
      const answer = await fetch(`${api}/api/cache`, { method: "POST", body: `{"key":"${key}","value":"${key}"}` });
      await answer.text();
      if (answer.ok && began && isAway) accepted.push(key);
    }
  };
  const writing = Promise.all(Array.from({ length: WRITERS }, writer));
  await Bun.sleep(PHASE_MS);
  first.process.kill("SIGKILL");
  await first.process.exited;
  isAway = true;
  await Bun.sleep(PHASE_MS);
  isAway = false;
  await startRedis(bench, { core: LOAD_CORE, port });
  await Bun.sleep(PHASE_MS);
  isOver = true;
  await writing;
  await until("the node is well again", async () => {
    const health: unknown = await (await fetch(`${api}/health`)).json();
    return typeof health === "object" && health !== null && Reflect.get(health, "status") === "ok";
  });
  let lost = 0;
  for (const key of accepted) {
    const answer = await fetch(`${api}/api/cache/${key}`);
    if (!(await answer.text()).includes(`"value":"${key}"`)) lost++;
  }
  await node.stop();
  return { accepted: accepted.length, lost };
}
