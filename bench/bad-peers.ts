import { quietPort } from "../test/support/free-port.ts";
import { until } from "../test/support/until.ts";
import { type Bench, LOAD_CORE, pinned, SERVER_CORE, type ServerProcess, withBench } from "./support/process.ts";
import { jsonValue, startNode } from "./support/servcache.ts";
import { count, markdownTable, median, ratio } from "./support/table.ts";
import { requireTools } from "./support/tools.ts";

const UNDISTURBED = "is not there";
const ALL_KINDS = [
  ...["hangs", "answers 404", "answers 404 to all but hello", "answers after 2 s", "floods heads"],
  ...["floods heads, line by line", "floods with 100 Continue", "floods bodies", "floods with a length"],
  ...["floods batches' answers", "sends bombs of gzip", "sends bombs of zstd"],
];
/** Some of them, separated by semicolons. */
const KINDS = process.env.SERV_CACHE_BENCH_ONLY?.split(";") ?? ALL_KINDS;
const ROUNDS = Number(process.env.SERV_CACHE_BENCH_ROUNDS ?? 3);
const SECONDS = 5;
const LIMIT_BYTES = 64 * 1024 ** 2;
const SETS_PER_CALL = 50;
const CALL_EVERY_MS = 25;
const PROBE_EVERY_MS = 20;
const VALUE = jsonValue(100);

interface Trial {
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly mostBytes: number;
  /** Of the writer, in a second. */
  readonly cpuShare: number;
}

/** How far a good peer is behind, and what the writer takes, while another peer does harm. */
export async function benchBadPeers(): Promise<void> {
  await requireTools(["taskset"]);
  await withBench(async (bench) => {
    const trials = new Map<string, Trial[]>();
    for (let round = 0; round < ROUNDS; round++) {
      for (const kind of [UNDISTURBED, ...KINDS]) {
        trials.set(kind, [...(trials.get(kind) ?? []), await tryWith(bench, kind)]);
      }
    }
    const of = (kind: string, pick: (trial: Trial) => number) => median((trials.get(kind) ?? []).map(pick));
    const calmMs = of(UNDISTURBED, ({ p99Ms }) => p99Ms);
    const rows = [...trials.keys()].map((kind) => {
      const p99Ms = of(kind, (trial) => trial.p99Ms);
      const mostBytes = Math.max(...(trials.get(kind) ?? []).map((trial) => trial.mostBytes));
      return [
        kind,
        of(kind, ({ p50Ms }) => p50Ms).toFixed(1),
        p99Ms.toFixed(1),
        ratio(p99Ms / calmMs),
        `1.5 x: ${p99Ms <= 1.5 * calmMs ? "reached" : "MISSED"}`,
        `${count(mostBytes / 1024 ** 2)} MiB`,
        `${Math.round(of(kind, ({ cpuShare }) => cpuShare) * 100)} %`,
      ];
    });
    console.log(
      `### Lag of a good peer beside another one, in ms, median of ${ROUNDS} rounds of ${SECONDS} s\n\n` +
        markdownTable(["the other", "p50", "p99", "÷ undisturbed", "at most", "writer's peak", "its CPU"], rows),
    );
  });
}

async function tryWith(bench: Bench, kind: string): Promise<Trial> {
  const [writerPort, goodPort, badPort] = [quietPort(), quietPort(), quietPort()];
  const script = `${import.meta.dirname}/support/bad-peer-process.ts`;
  const command = pinned([process.execPath, script, kind, String(badPort)], LOAD_CORE);
  const bad = kind === UNDISTURBED ? null : Bun.spawn(command, { stdio: ["ignore", "inherit", "inherit"] });
  const urlOf = (port: number) => `http://127.0.0.1:${port}`;
  const start = (port: number, core: number, peers: readonly number[]) =>
    startNode(bench, {
      ...{ core, workers: 1, limitBytes: LIMIT_BYTES, port },
      env: {
        ...{ SERV_CACHE_PEERS: peers.map(urlOf).join(","), SERV_CACHE_PEER_COMPARE: "off" },
        ...{ SERV_CACHE_LOG_LEVEL: "error", SERV_CACHE_BOOTSTRAP: "none" },
      },
    });
  const good = await start(goodPort, LOAD_CORE, [writerPort]);
  const writer = await start(writerPort, SERVER_CORE, [goodPort, badPort]);
  try {
    await until("the good peer is met", async () => (await get(writerPort, "/api/stats")).includes('"state":"up"'));
    const writing = write(writerPort);
    const before = { cpu: writer.cpuSeconds(), ms: performance.now() };
    const lagsMs = (await probe(writer, goodPort)).sort((a, b) => a - b);
    const cpuShare = ((writer.cpuSeconds() - before.cpu) * 1000) / (performance.now() - before.ms);
    await writing.stop();
    const at = (share: number) => lagsMs[Math.min(lagsMs.length - 1, Math.floor(lagsMs.length * share))] ?? Number.NaN;
    return { p50Ms: at(0.5), p99Ms: at(0.99), mostBytes: writer.peakResidentBytes(), cpuShare };
  } finally {
    bad?.kill("SIGKILL");
    await Promise.all([writer.stop(), good.stop(), bad?.exited]);
  }
}

async function get(port: number, path: string): Promise<string> {
  return (await fetch(`http://127.0.0.1:${port}${path}`)).text();
}

function write(port: number): { stop(): Promise<void> } {
  let isOver = false;
  const writing = (async () => {
    for (let next = 0; !isOver; ) {
      const operations = Array.from({ length: SETS_PER_CALL }, () => {
        return `{"op":"set","key":"key:${next++ % 10_000}","value":${VALUE}}`;
      });
      const body = `{"operations":[${operations.join(",")}]}`;
      await (await fetch(`http://127.0.0.1:${port}/api/batch`, { method: "POST", body })).arrayBuffer();
      await Bun.sleep(CALL_EVERY_MS);
    }
  })();
  return {
    async stop() {
      isOver = true;
      await writing;
    },
  };
}

/** From the answer to the writer's client to the peer's answer with the value. */
async function probe(writer: ServerProcess, goodPort: number): Promise<number[]> {
  const lagsMs: number[] = [];
  const endMs = performance.now() + SECONDS * 1000;
  for (let number = 0; performance.now() < endMs; number++) {
    const key = `probe:${number}`;
    const body = JSON.stringify({ key, value: number });
    await (await fetch(`http://127.0.0.1:${writer.port}/api/cache`, { method: "POST", body })).arrayBuffer();
    const answeredMs = performance.now();
    while (!(await get(goodPort, `/api/cache/${key}`)).includes('"value"')) await Bun.sleep(1);
    lagsMs.push(performance.now() - answeredMs);
    await Bun.sleep(PROBE_EVERY_MS);
  }
  return lagsMs;
}
