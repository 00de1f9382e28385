import { readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type NeighbourReport, neighbour } from "../test/support/storms/neighbour.ts";
import { storeLarge } from "../test/support/storms/storms.ts";
import { cpuSecondsOf, LOAD_CORE, pinned, pinSelf, SERVER_CORE, withBench } from "./support/process.ts";
import { markdownTable, ratio } from "./support/table.ts";

const MIB = 1024 ** 2;
const LIMITS = (process.env.SERV_CACHE_STORM_LIMITS ?? "64,256,2048").split(",").map((mib) => Number(mib) * MIB);
/** Of each neighbour: a storm lasts until they are answered. */
const REQUESTS = Number(process.env.SERV_CACHE_STORM_REQUESTS ?? 3000);
const NEIGHBOURS = 4;
const WORKERS = Number(process.env.SERV_CACHE_STORM_WORKERS ?? 2);
const ROOT = join(import.meta.dirname, "..");
const STORM_PROCESS = join(ROOT, "test/support/storms/storm-process.ts");
const SINK_PROCESS = join(ROOT, "test/support/storms/sink-process.ts");
const MAIN = process.env.SERV_CACHE_BENCH_MAIN ?? join(ROOT, "src/main.ts");
const VALUE_BYTES = 16 * MIB;

interface Storm {
  readonly name: string;
  readonly flags: (backendUrl: string) => readonly string[];
}

/** By the title; the storm itself is what stands before the colon. */
const STORMS: readonly Storm[] = [
  { name: "bodies that flood", flags: () => [] },
  { name: "bodies that drip", flags: () => [] },
  { name: "clients that don't read", flags: () => [] },
  {
    name: "replication without a token",
    flags: () => ["--peers=http://127.0.0.1:1", "--peer-token=secret", "--bootstrap=none"],
  },
  { name: "batches with huge answers", flags: () => [] },
  {
    name: "misses with huge answers: HTTP",
    flags: (url) => [`--backend-db=${url}`, "--write-mode=none", "--backend-timeout=10s"],
  },
  {
    name: "misses with huge answers: SQL",
    flags: () => [
      `--backend-db=sqlite:${join(tmpdir(), "servcache-storm.db")}`,
      `--backend-read-sql=SELECT zeroblob(${VALUE_BYTES}) AS value WHERE :key <> ''`,
      "--write-mode=none",
      "--backend-timeout=10s",
    ],
  },
];

/** Memory of the process above `SERV_CACHE_MAX_MEMORY`, and what other clients feel, in the storms that it is made for. */
export async function benchStorms(): Promise<void> {
  const only = process.env.SERV_CACHE_STORM ?? "";
  // So that the node has a core of its own.
  pinSelf(LOAD_CORE);
  const value = new Uint8Array(VALUE_BYTES);
  const backend = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch: () => new Response(value) });
  try {
    for (const limitBytes of LIMITS) {
      const rows: string[][] = [];
      for (const storm of STORMS.filter(({ name }) => name.includes(only))) {
        rows.push(await weather(storm, limitBytes, `http://127.0.0.1:${backend.port}`));
      }
      console.log(
        `\n### ${limitBytes / MIB} MiB, ${WORKERS} threads, ${NEIGHBOURS} neighbours of ${REQUESTS} requests\n`,
      );
      console.log(
        markdownTable(
          [
            "storm",
            "resident at most, MiB",
            "above the limit, MiB",
            "p99 undisturbed, ms",
            "p99 beside the storm on another server, ms",
            "p99 in the storm, ms",
            "÷ undisturbed",
            "÷ other server",
            "refused",
            "cores: node, storm, neighbours",
          ],
          rows,
        ),
      );
    }
  } finally {
    backend.stop(true);
  }
}

async function weather({ name, flags }: Storm, limitBytes: number, backendUrl: string): Promise<string[]> {
  let row: string[] = [];
  await withBench(async (bench) => {
    const command = [process.execPath, MAIN, "serve", "--addr=127.0.0.1:0", `--workers=${WORKERS}`];
    const more = [...flags(backendUrl), `--max-memory=${limitBytes}`, `--data-dir=${bench.folder}`];
    await using node = spawned(pinned([...command, ...more], SERVER_CORE));
    const port = await portOf(node.process);
    if (port === 0) {
      const reason = (await new Response(node.process.stderr).text()).trim();
      row = [name, `not started: ${/and (\d+MiB) is the smallest/.exec(reason)?.[1] ?? reason}`, ...Array(8).fill("")];
      return;
    }
    await using sink = spawned(pinned([process.execPath, SINK_PROCESS], SERVER_CORE));
    const sinkPort = await portOf(sink.process);
    if (!name.startsWith("misses")) await storeLarge(port);
    const calm = await neighbour(port, REQUESTS / 2, NEIGHBOURS);
    const beside = await inStorm(name, sinkPort, node.process.pid, () => neighbour(port, REQUESTS / 2, NEIGHBOURS));
    const rough = await inStorm(name, port, node.process.pid, () => neighbour(port, REQUESTS, NEIGHBOURS));
    const peakBytes = peakOf(node.process.pid);
    row = [
      name,
      (peakBytes / MIB).toFixed(0),
      Math.max(0, (peakBytes - limitBytes) / MIB).toFixed(0),
      calm.p99Ms.toFixed(1),
      beside.report.p99Ms.toFixed(1),
      rough.report.p99Ms.toFixed(1),
      ratio(rough.report.p99Ms / calm.p99Ms),
      ratio(rough.report.p99Ms / beside.report.p99Ms),
      String(rough.report.refused),
      rough.cores,
    ];
  });
  console.log(row.join(" | "));
  return row;
}

/** What the neighbours see while a storm goes over a server, and how many cores each took meanwhile. */
async function inStorm(
  name: string,
  port: number,
  nodePid: number,
  watch: () => Promise<NeighbourReport>,
): Promise<{ readonly report: NeighbourReport; readonly cores: string }> {
  // The neighbours run in this process, and come first on the core that they share with the storm.
  const command = ["nice", "-n", "5", process.execPath, STORM_PROCESS, name.split(":")[0] ?? "", String(port)];
  await using storm = spawned(pinned(command, LOAD_CORE));
  const pids = [nodePid, storm.process.pid, process.pid];
  const before = pids.map(cpuSecondsOf);
  const startMs = performance.now();
  const report = await watch();
  const seconds = (performance.now() - startMs) / 1000;
  const cores = pids.map((pid, at) => ((cpuSecondsOf(pid) - (before[at] ?? 0)) / seconds).toFixed(2));
  return { report, cores: cores.join(", ") };
}

interface Spawned extends AsyncDisposable {
  readonly process: Bun.Subprocess<"ignore", "pipe", "pipe">;
}

/** A process that is killed where its use ends. */
function spawned(command: readonly string[]): Spawned {
  const child = Bun.spawn([...command], { env: { PATH: process.env.PATH ?? "" }, stdio: ["ignore", "pipe", "pipe"] });
  return {
    process: child,
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await child.exited;
    },
  };
}

/** The port in the first line that a server prints; 0 = it did not start. */
async function portOf({ stdout }: Spawned["process"]): Promise<number> {
  const first = await stdout.getReader().read();
  return Number(/:(\d+) /.exec(new TextDecoder().decode(first.value))?.[1] ?? 0);
}

function peakOf(pid: number): number {
  return Number(/VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) * 1024;
}
