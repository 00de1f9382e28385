import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { gunzipSync } from "node:zlib";
import type { Requests } from "../simulators/policy.ts";

/** One size of the reference table in the traces' README: hit ratios of item-count caches. */
export interface ReferenceRow {
  readonly percent: number;
  readonly items: number;
  readonly lru: number;
  readonly sieve: number;
  readonly s3Fifo: number;
  readonly opt: number;
}

export interface TraceFile {
  readonly name: string;
  readonly file: string;
  readonly format: "int32-big-endian" | "decimal-lines";
  readonly reference: readonly ReferenceRow[];
}

export const TRACE_FILES: readonly TraceFile[] = [
  {
    name: "web12",
    file: "web12.trace.xz",
    format: "int32-big-endian",
    reference: [
      { percent: 1, items: 137, lru: 0.397, sieve: 0.4025, s3Fifo: 0.408, opt: 0.585 },
      { percent: 5, items: 687, lru: 0.6, sieve: 0.6352, s3Fifo: 0.6484, opt: 0.7467 },
      { percent: 10, items: 1375, lru: 0.6848, sieve: 0.7172, s3Fifo: 0.7224, opt: 0.8004 },
      { percent: 25, items: 3439, lru: 0.7769, sieve: 0.7905, s3Fifo: 0.7943, opt: 0.847 },
    ],
  },
  {
    name: "multi2",
    file: "multi2.trace.gz",
    format: "decimal-lines",
    reference: [
      { percent: 5, items: 284, lru: 0.2689, sieve: 0.2819, s3Fifo: 0.3518, opt: 0.487 },
      { percent: 10, items: 568, lru: 0.3692, sieve: 0.3616, s3Fifo: 0.493, opt: 0.5491 },
      { percent: 25, items: 1421, lru: 0.4828, sieve: 0.5083, s3Fifo: 0.5804, opt: 0.6856 },
    ],
  },
  {
    name: "2_pools",
    file: "2_pools.trace.gz",
    format: "decimal-lines",
    reference: [
      { percent: 5, items: 496, lru: 0.5101, sieve: 0.5184, s3Fifo: 0.519, opt: 0.628 },
      { percent: 10, items: 993, lru: 0.5438, sieve: 0.5432, s3Fifo: 0.5434, opt: 0.6846 },
      { percent: 25, items: 2484, lru: 0.6156, sieve: 0.616, s3Fifo: 0.616, opt: 0.7776 },
    ],
  },
  {
    name: "orm-busy",
    file: "orm-busy.trace.xz",
    format: "int32-big-endian",
    reference: [
      { percent: 1, items: 763, lru: 0.7703, sieve: 0.7053, s3Fifo: 0.7522, opt: 0.8283 },
      { percent: 5, items: 3817, lru: 0.8413, sieve: 0.8389, s3Fifo: 0.8522, opt: 0.9018 },
      { percent: 10, items: 7634, lru: 0.8801, sieve: 0.8812, s3Fifo: 0.8899, opt: 0.9331 },
      { percent: 25, items: 19087, lru: 0.9337, sieve: 0.9365, s3Fifo: 0.9397, opt: 0.9658 },
    ],
  },
];

/**
 * The folder with the traces: `SERV_CACHE_TRACES`, else `shared/traces` beside the repository or beside a folder above
 * it (worktrees). Null = not on this machine.
 */
export function traceFolder(): string | null {
  const named = process.env.SERV_CACHE_TRACES;
  if (named !== undefined) return existsSync(named) ? named : null;
  let folder = dirname(dirname(import.meta.dirname));
  while (folder !== dirname(folder)) {
    folder = dirname(folder);
    const candidate = join(folder, "shared", "traces");
    if (existsSync(candidate)) return candidate;
  }
  return null;
}

/** Reads a trace, its keys made dense in order of first appearance. Decompresses xz with the command `xz`. */
export function loadTrace(trace: TraceFile, folder: string): Requests {
  const bytes = decompress(join(folder, trace.file));
  return dense(trace.format === "int32-big-endian" ? readInt32BigEndian(bytes) : readDecimalLines(bytes));
}

function decompress(path: string): Buffer {
  if (path.endsWith(".gz")) return gunzipSync(readFileSync(path));
  const run = Bun.spawnSync(["xz", "--decompress", "--stdout", path]);
  if (run.exitCode !== 0) throw new Error(`xz could not read ${path}: ${run.stderr.toString().trim()}`);
  return run.stdout;
}

function readInt32BigEndian(bytes: Buffer): Int32Array {
  const numbers = new Int32Array(bytes.length >> 2);
  for (let index = 0; index < numbers.length; index++) numbers[index] = bytes.readInt32BE(index * 4);
  return numbers;
}

function readDecimalLines(bytes: Buffer): Int32Array {
  const lines = bytes.toString("latin1").split(/\s+/);
  return Int32Array.from(lines.filter((line) => /^\d+$/.test(line)).map(Number));
}

function dense(numbers: Int32Array): Requests {
  const ids = new Map<number, number>();
  const keys = numbers.map((number) => {
    const known = ids.get(number);
    if (known !== undefined) return known;
    ids.set(number, ids.size);
    return ids.size - 1;
  });
  return { keys, distinct: ids.size };
}
