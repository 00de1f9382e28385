/**
 * `bun bench/redis.ts [seconds]`: GET hits and POSTs through ServCache to Redis, with and without the near cache; beside
 * it, in the same run: Webdis to the same Redis, the memory engine, and Redis itself (`redis-benchmark -P 1`).
 * Needs `redis-server`, `redis-benchmark`, `redis-cli`, `webdis` and `wrk`. All on 127.0.0.1, in a temporary folder.
 */

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

const SECONDS = Number(process.argv[2] ?? 5);
/** Rounds go A B C A B C, so that a neighbour on the machine meets everybody. */
const ROUNDS = 3;
/** Until the hot path is compiled. */
const WARM_UP_SECONDS = 5;
const DELAY_ROUNDS = 5;
const CONNECTIONS = 32;
const KEYS = 10_000;
const VALUE = JSON.stringify({ id: 1, name: "x".repeat(80) });
const CLOCK_TICKS_PER_SECOND = 100;
const MAIN = join(import.meta.dir, "..", "src", "main.ts");

type Program = ReturnType<typeof Bun.spawn>;

interface Contestant {
  readonly name: string;
  readonly port: number;
  readonly pid: number;
  readonly path: string;
}

interface Measured {
  readonly perSecond: number;
  readonly perCpuSecond: number;
  readonly p50: string;
  readonly p99: string;
}

const folder = mkdtempSync(join(tmpdir(), "servcache-bench-"));
const programs: Program[] = [];

try {
  await main();
} finally {
  for (const program of programs) {
    program.kill("SIGKILL");
    await program.exited;
  }
  rmSync(folder, { recursive: true, force: true });
}

async function main(): Promise<void> {
  const redisPort = await freePort();
  const redis = run("redis-server", [
    "--port",
    `${redisPort}`,
    "--save",
    "",
    "--dir",
    folder,
    "--enable-debug-command",
    "yes",
  ]);
  await listening(redisPort);
  await fill(redisPort);

  const plain = await servCache("ServCache to Redis", { REDIS_URL: `redis://127.0.0.1:${redisPort}` });
  const near = await servCache("ServCache to Redis, near cache", {
    REDIS_URL: `redis://127.0.0.1:${redisPort}`,
    SERV_CACHE_NEAR_CACHE: "256MiB",
  });
  const memory = await servCache("ServCache in memory", { REDIS_URL: "" });
  await fillOverHttp(memory.port);
  const webdis = await startWebdis(redisPort);

  console.log(`\nGET hits of ${KEYS} keys, ${CONNECTIONS} connections, median of ${ROUNDS} × ${SECONDS} s`);
  const script = writeScript(
    "get.lua",
    (path) => `return wrk.format("GET", "${path}key:" .. math.random(0, ${KEYS - 1}))`,
  );
  const gets = new Map<string, Measured>();
  const contestants = [webdis, plain, near, memory];
  for (const contestant of contestants) await load(contestant, script(contestant), WARM_UP_SECONDS);
  const rounds: Measured[][] = contestants.map(() => []);
  for (let round = 0; round < ROUNDS; round++) {
    for (const [index, contestant] of contestants.entries()) {
      rounds[index]?.push(await load(contestant, script(contestant), SECONDS));
    }
  }
  for (const [index, { name }] of contestants.entries()) gets.set(name, report(name, medianOf(rounds[index] ?? [])));
  console.log(`Redis itself: ${redisBenchmark(redisPort, "get")}`);
  ratio(
    "GET per CPU-second, ServCache to Webdis",
    gets.get(plain.name)?.perCpuSecond,
    gets.get(webdis.name)?.perCpuSecond,
    2,
  );
  ratio(
    "GET per CPU-second, near cache to memory",
    gets.get(near.name)?.perCpuSecond,
    gets.get(memory.name)?.perCpuSecond,
    0.85,
  );

  console.log("\nWrites");
  const body = JSON.stringify({ key: "key:KEY", value: JSON.parse(VALUE) }).replace(/"/g, '\\"');
  const post = writeScript("post.lua", () => {
    const headers = '{["Content-Type"] = "application/json"}';
    return `local body = string.gsub("${body}", "KEY", math.random(0, ${KEYS - 1}), 1)\n return wrk.format("POST", "/api/cache", ${headers}, body)`;
  });
  for (const contestant of [plain, near]) report(contestant.name, await load(contestant, post(contestant), SECONDS));
  const set = writeScript(
    "set.lua",
    () => `return wrk.format("GET", "/SET/key:" .. math.random(0, ${KEYS - 1}) .. "/${"x".repeat(100)}")`,
  );
  report(webdis.name, await load(webdis, set(webdis), SECONDS));
  console.log(`Redis itself: ${redisBenchmark(redisPort, "set")}`);

  // Webdis' SETs left other values behind.
  await fill(redisPort);
  await delayAtHalfLoad(redisPort, plain, (gets.get(plain.name)?.perSecond ?? 0) / 2);
  await patternDelete(redisPort, redis, plain);
}

async function servCache(name: string, env: Record<string, string>): Promise<Contestant> {
  const port = await freePort();
  const args = [MAIN, "serve", "--addr", `127.0.0.1:${port}`];
  const program = run(process.execPath, args, {
    SERV_CACHE_WORKERS: "1",
    SERV_CACHE_DATA_DIR: join(folder, `${port}`),
    ...env,
  });
  await listening(port);
  return { name, port, pid: program.pid, path: "/api/cache/" };
}

async function startWebdis(redisPort: number): Promise<Contestant> {
  const port = await freePort();
  const file = join(folder, "webdis.json");
  const settings = { redis_host: "127.0.0.1", redis_port: redisPort, http_host: "127.0.0.1", http_port: port };
  writeFileSync(
    file,
    JSON.stringify({
      ...settings,
      threads: 1,
      pool_size: 4,
      daemonize: false,
      database: 0,
      logfile: join(folder, "webdis.log"),
    }),
  );
  const program = run("webdis", [file]);
  await listening(port);
  return { name: "Webdis", port, pid: program.pid, path: "/GET/" };
}

function writeScript(name: string, request: (path: string) => string) {
  return ({ path, port }: Contestant): string => {
    const file = join(folder, `${port}-${name}`);
    writeFileSync(file, `math.randomseed(7)\nrequest = function()\n ${request(path)}\nend\n`);
    return file;
  };
}

async function load({ port, pid }: Contestant, script: string, seconds: number): Promise<Measured> {
  const before = cpuSeconds(pid);
  const args = ["-t1", `-c${CONNECTIONS}`, `-d${seconds}s`, "--latency", "-s", script, `http://127.0.0.1:${port}`];
  const text = await new Response(Bun.spawn(["wrk", ...args], { stdout: "pipe" }).stdout).text();
  const bad = /Non-2xx.*: (\d+)/.exec(text)?.[1];
  if (bad !== undefined) throw new Error(`${bad} answers were errors:\n${text}`);
  const perSecond = Number(/Requests\/sec:\s+([\d.]+)/.exec(text)?.[1]);
  const requests = Number(/(\d+) requests in/.exec(text)?.[1]);
  const percentile = (which: string) => new RegExp(`${which}%\\s+(\\S+)`).exec(text)?.[1] ?? "?";
  return {
    perSecond,
    perCpuSecond: requests / (cpuSeconds(pid) - before),
    p50: percentile("50"),
    p99: percentile("99"),
  };
}

/** The round whose cost per request is in the middle. */
function medianOf(rounds: readonly Measured[]): Measured {
  const middle = [...rounds].sort((a, b) => a.perCpuSecond - b.perCpuSecond)[Math.floor(rounds.length / 2)];
  if (middle === undefined) throw new Error("nothing was measured");
  return middle;
}

function report(name: string, measured: Measured): Measured {
  const { perSecond, perCpuSecond, p50, p99 } = measured;
  const numbers = `${Math.round(perSecond)}/s, ${Math.round(perCpuSecond)} per CPU-second, p50 ${p50}, p99 ${p99}`;
  console.log(`${name.padEnd(32)} ${numbers}`);
  return measured;
}

function ratio(name: string, a = 0, b = 1, target: number): void {
  console.log(`${name}: ${(a / b).toFixed(2)} (wanted: ${target})`);
}

function redisBenchmark(port: number, command: "get" | "set"): string {
  const args = [
    "-p",
    `${port}`,
    "-P",
    "1",
    "-c",
    `${CONNECTIONS}`,
    "-n",
    "200000",
    "-d",
    `${VALUE.length}`,
    "-t",
    command,
    "-q",
  ];
  const { stdout } = Bun.spawnSync(["redis-benchmark", ...args], { stdout: "pipe" });
  return stdout.toString().trim().split("\r").at(-1)?.trim() ?? "?";
}

/** What ServCache adds to Redis' own p99, at a fixed rate: half of what ServCache reached. */
async function delayAtHalfLoad(redisPort: number, through: Contestant, perSecond: number): Promise<void> {
  const rounds: { direct: number; added: number }[] = [];
  for (let round = 0; round < DELAY_ROUNDS; round++) {
    const direct = await pacedP99(redisPort, "*2\r\n$3\r\nGET\r\n$6\r\nkey:42\r\n", perSecond);
    const all = await pacedP99(through.port, "GET /api/cache/key:42 HTTP/1.1\r\nHost: x\r\n\r\n", perSecond);
    rounds.push({ direct, added: all - direct });
  }
  rounds.sort((a, b) => a.added - b.added);
  const { direct, added } = rounds[Math.floor(DELAY_ROUNDS / 2)] ?? { direct: Number.NaN, added: Number.NaN };
  const each = rounds.map((round) => round.added.toFixed(2)).join(", ");
  console.log(
    `\np99 at ${Math.round(perSecond)}/s: Redis ${direct.toFixed(2)} ms, through ServCache +${added.toFixed(2)} ms (wanted: under 1; rounds: ${each})`,
  );
}

/** Sends at a fixed rate over all connections, one request at a time on each; p99 in ms, waits for a free one included. */
async function pacedP99(port: number, request: string, perSecond: number): Promise<number> {
  const idle: Socket[] = [];
  const delaysMs: number[] = [];
  const started = new Map<Socket, number>();
  const due: number[] = [];
  const send = (socket: Socket, dueMs: number) => {
    started.set(socket, dueMs);
    socket.write(request);
  };
  const sockets = Array.from({ length: CONNECTIONS }, () => {
    const socket = new Socket().connect(port, "127.0.0.1");
    socket.on("data", () => {
      // Answers this small come in one piece.
      delaysMs.push(performance.now() - (started.get(socket) ?? 0));
      const next = due.shift();
      if (next === undefined) idle.push(socket);
      else send(socket, next);
    });
    socket.once("connect", () => {
      // Before the connection is there, Bun ignores it: requests would wait 40 ms for delayed acknowledgements.
      socket.setNoDelay(true);
      idle.push(socket);
    });
    return socket;
  });
  while (idle.length < CONNECTIONS) await Bun.sleep(1);
  const startMs = performance.now();
  for (let sent = 0; performance.now() - startMs < SECONDS * 1000; ) {
    const dueMs = startMs + (sent * 1000) / perSecond;
    if (dueMs > performance.now()) {
      // Not a busy loop: it would take a core from those that are measured.
      await Bun.sleep(1);
      continue;
    }
    const socket = idle.pop();
    if (socket === undefined) due.push(dueMs);
    else send(socket, performance.now());
    sent++;
  }
  for (const socket of sockets) socket.destroy();
  delaysMs.sort((a, b) => a - b);
  return delaysMs[Math.floor(delaysMs.length * 0.99)] ?? Number.NaN;
}

/** Deletes 100,000 among a million keys while another client asks for a key again and again. */
async function patternDelete(redisPort: number, redis: Program, through: Contestant): Promise<void> {
  redisCli(redisPort, "DEBUG", "POPULATE", "900000", "other");
  redisCli(redisPort, "DEBUG", "POPULATE", "100000", "match");
  redisCli(redisPort, "CONFIG", "SET", "latency-monitor-threshold", "10");
  redisCli(redisPort, "LATENCY", "RESET");
  const at = `http://127.0.0.1:${through.port}/api/cache`;
  let longestMs = 0;
  let isOver = false;
  const asking = (async () => {
    while (!isOver) {
      const startMs = performance.now();
      await (await fetch(`${at}/key:1`)).text();
      longestMs = Math.max(longestMs, performance.now() - startMs);
      await Bun.sleep(1);
    }
  })();
  const startMs = performance.now();
  const cpuBefore = cpuSeconds(redis.pid);
  const answer = await (await fetch(`${at}?pattern=match:*`, { method: "DELETE" })).text();
  const tookMs = performance.now() - startMs;
  isOver = true;
  await asking;
  const events = redisCli(redisPort, "LATENCY", "LATEST").trim();
  console.log(`\nDELETE ?pattern=match:* of 100,000 among 1 million: ${answer.trim()} in ${Math.round(tookMs)} ms`);
  console.log(`Redis used ${(cpuSeconds(redis.pid) - cpuBefore).toFixed(2)} CPU-seconds`);
  console.log(`longest wait of another request: ${longestMs.toFixed(1)} ms (wanted: under 20)`);
  console.log(`Redis' events above 10 ms: ${events === "" ? "none" : events}`);
}

async function fill(redisPort: number): Promise<void> {
  const commands = Array.from({ length: KEYS }, (_, i) => `SET key:${i} '${VALUE}'\r\n`).join("");
  const { exitCode } = Bun.spawnSync(["redis-cli", "-p", `${redisPort}`], {
    stdin: Buffer.from(commands),
    stdout: "ignore",
  });
  if (exitCode !== 0) throw new Error("redis-cli could not fill Redis");
}

async function fillOverHttp(port: number): Promise<void> {
  for (let i = 0; i < KEYS; i++) {
    const body = JSON.stringify({ key: `key:${i}`, value: JSON.parse(VALUE) });
    await (await fetch(`http://127.0.0.1:${port}/api/cache`, { method: "POST", body })).text();
  }
}

function redisCli(port: number, ...args: string[]): string {
  return Bun.spawnSync(["redis-cli", "-p", `${port}`, ...args], { stdout: "pipe" }).stdout.toString();
}

function run(program: string, args: string[], env: Record<string, string> = {}): Program {
  const started = Bun.spawn([program, ...args], {
    env: { ...process.env, ...env },
    stdout: "ignore",
    stderr: "inherit",
  });
  programs.push(started);
  return started;
}

/** User and system time of a process so far: fields 14 and 15 of /proc/<pid>/stat. */
function cpuSeconds(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8")
    .replace(/^.*\) /s, "")
    .split(" ");
  return (Number(fields[11]) + Number(fields[12])) / CLOCK_TICKS_PER_SECOND;
}

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const address = server.address();
      server.close(() => resolve(typeof address === "object" && address !== null ? address.port : 0));
    });
  });
}

async function listening(port: number): Promise<void> {
  for (let attempt = 0; attempt < 500; attempt++) {
    const socket = new Socket();
    const isUp = await new Promise<boolean>((resolve) => {
      socket
        .once("connect", () => resolve(true))
        .once("error", () => resolve(false))
        .connect(port, "127.0.0.1");
    });
    socket.destroy();
    if (isUp) return;
    await Bun.sleep(10);
  }
  throw new Error(`nothing listens on port ${port}`);
}
