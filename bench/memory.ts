import { join } from "node:path";
import { bytesForEntries } from "../src/engine/memory/sizing.ts";
import { KEY_BYTES, keyText } from "./support/engine-keys.ts";
import { VALUE_BYTES } from "./support/engine-stores.ts";
import { fillRedis, startRedis } from "./support/peers.ts";
import { type Bench, SERVER_CORE, withBench } from "./support/process.ts";
import { fill, jsonValue, nodeStats, startNode } from "./support/servcache.ts";
import { printStorm, writeStorm } from "./support/storm.ts";
import { count, markdownTable } from "./support/table.ts";
import { requireTools, toolPath } from "./support/tools.ts";

const COUNTS = [1_000_000, 5_000_000];
/** At 5 million entries. */
const OVERHEAD_AT_MOST_BYTES = 56;
const ROOM = 1.2;

interface Held {
  readonly entries: number;
  readonly residentBytes: number;
  readonly note: string;
}

/** Resident memory per entry beside Redis, and memory under a storm of writes. */
export async function benchMemory(): Promise<void> {
  await requireTools(["redis-server", "redis-cli", "taskset"]);
  const rows: string[][] = [];
  let figure = "";
  for (const entries of COUNTS) {
    const engine = await engineAlone(entries);
    rows.push(row("engine in a process", engine));
    await withBench(async (bench) => {
      rows.push(row("whole node, filled over HTTP", await wholeNode(bench, entries)));
    });
    await withBench(async (bench) => {
      rows.push(row("Redis", await redis(bench, entries)));
    });
    const reached = overheadBytes(engine) <= OVERHEAD_AT_MOST_BYTES ? "reached" : "MISSED";
    figure = `${overheadBytes(engine).toFixed(1)} bytes per entry at ${count(entries)} (at most 56: ${reached})`;
  }
  console.log(
    `Resident memory (VmRSS, everything counted) with ${KEY_BYTES}-byte keys and ${VALUE_BYTES}-byte values; ` +
      "overhead = (resident memory - keys - values) ÷ entries.\n",
  );
  console.log(markdownTable(["store", "entries", "MiB resident", "bytes of overhead per entry", "note"], rows));
  console.log(`\nThe engine's overhead: ${figure}\n`);
  await withBench(async (bench) => printStorm(await writeStorm(bench)));
}

async function engineAlone(entries: number): Promise<Held> {
  const program = join(import.meta.dirname, "support", "memory-holder.ts");
  const child = Bun.spawn([process.execPath, program, String(entries)], { stderr: "inherit" });
  const held: { entries: number; usedBytes: number; beforeBytes: number; residentBytes: number } = JSON.parse(
    await new Response(child.stdout).text(),
  );
  const note = `${mebibytes(held.beforeBytes)} MiB before the engine was made; its own account: ${mebibytes(held.usedBytes)} MiB`;
  return { ...held, note };
}

async function wholeNode(bench: Bench, entries: number): Promise<Held> {
  const limitBytes = Math.ceil(bytesForEntries(entries, KEY_BYTES, VALUE_BYTES) * ROOM);
  const node = await startNode(bench, { core: SERVER_CORE, workers: 1, limitBytes });
  const emptyBytes = node.residentBytes();
  const valueJson = jsonValue(VALUE_BYTES);
  await fill(node.port, { count: entries, keyOf: keyText, valueJson, expiresAtMs: null, pauseMs: 0 });
  const stats = await nodeStats(`http://127.0.0.1:${node.port}`);
  const note = `${mebibytes(emptyBytes)} MiB when empty`;
  return { entries: stats.entries, residentBytes: node.residentBytes(), note };
}

async function redis(bench: Bench, entries: number): Promise<Held> {
  const server = await startRedis(bench);
  const emptyBytes = server.residentBytes();
  await fillRedis(server, entries, keyText, "v".repeat(VALUE_BYTES));
  const info = Bun.spawnSync([toolPath("redis-cli"), "-p", String(server.port), "info"]).stdout.toString();
  const field = (name: string) => Number(new RegExp(`${name}(\\d+)`).exec(info)?.[1]);
  const note = `${mebibytes(emptyBytes)} MiB when empty; used_memory_rss: ${mebibytes(field("used_memory_rss:"))} MiB`;
  return { entries: field("db0:keys="), residentBytes: server.residentBytes(), note };
}

function row(name: string, held: Held): string[] {
  return [name, count(held.entries), mebibytes(held.residentBytes), overheadBytes(held).toFixed(1), held.note];
}

function overheadBytes({ entries, residentBytes }: Held): number {
  return residentBytes / entries - KEY_BYTES - VALUE_BYTES;
}

function mebibytes(bytes: number): string {
  return (bytes / 1024 ** 2).toFixed(1);
}
