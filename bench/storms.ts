import { readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type NeighbourReport, neighbour } from "../test/support/storms/neighbour.ts";
import { storeLarge } from "../test/support/storms/storms.ts";
import { withBench } from "./support/process.ts";
import { markdownTable, ratio } from "./support/table.ts";

const MIB = 1024 ** 2;
const LIMITS = (process.env.SERV_CACHE_STORM_LIMITS ?? "64,256,2048").split(",").map((mib) => Number(mib) * MIB);
/** Of each neighbour: a storm lasts until they are answered. */
const REQUESTS = Number(process.env.SERV_CACHE_STORM_REQUESTS ?? 3000);
const NEIGHBOURS = 4;
const WORKERS = Number(process.env.SERV_CACHE_STORM_WORKERS ?? 2);
const ROOT = join(import.meta.dirname, "..");
const STORM_PROCESS = join(ROOT, "test/support/storms/storm-process.ts");
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
            "p99 in the storm, ms",
            "÷",
            "refused",
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
    const command = [
      process.execPath,
      MAIN,
      "serve",
      "--addr=127.0.0.1:0",
      `--workers=${WORKERS}`,
      ...flags(backendUrl),
    ];
    const node = Bun.spawn([...command, `--max-memory=${limitBytes}`, `--data-dir=${bench.folder}`], {
      env: { PATH: process.env.PATH ?? "" },
      stdio: ["ignore", "pipe", "pipe"],
    });
    try {
      const first = await node.stdout.getReader().read();
      const port = Number(/:(\d+) /.exec(new TextDecoder().decode(first.value))?.[1] ?? 0);
      if (port === 0) {
        const reason = (await new Response(node.stderr).text()).trim();
        row = [name, `not started: ${/and (\d+MiB) is the smallest/.exec(reason)?.[1] ?? reason}`, "", "", "", "", ""];
        return;
      }
      if (!name.startsWith("misses")) await storeLarge(port);
      const calm = await neighbour(port, REQUESTS / 2, NEIGHBOURS);
      const storm = Bun.spawn([process.execPath, STORM_PROCESS, name.split(":")[0] ?? "", String(port)]);
      let rough: NeighbourReport;
      try {
        rough = await neighbour(port, REQUESTS, NEIGHBOURS);
      } finally {
        storm.kill("SIGKILL");
        await storm.exited;
      }
      const peakBytes = peakOf(node.pid);
      row = [
        name,
        (peakBytes / MIB).toFixed(0),
        Math.max(0, (peakBytes - limitBytes) / MIB).toFixed(0),
        calm.p99Ms.toFixed(1),
        rough.p99Ms.toFixed(1),
        ratio(rough.p99Ms / calm.p99Ms),
        String(rough.refused),
      ];
    } finally {
      node.kill("SIGKILL");
      await node.exited;
    }
  });
  console.log(row.join(" | "));
  return row;
}

function peakOf(pid: number): number {
  return Number(/VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) * 1024;
}
