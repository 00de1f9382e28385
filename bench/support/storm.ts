import { mulberry32 } from "./engine-keys.ts";
import { type Bench, SERVER_CORE, type ServerProcess } from "./process.ts";
import { nodeStats, startNode } from "./servcache.ts";
import { count, markdownTable } from "./table.ts";

const LIMIT_BYTES = 256 * 1024 ** 2;
const MAX_VALUE_BYTES = 1024 ** 2;
const KEYS = 20_000;
const SECONDS = 15;
const WRITERS = 8;
const SAMPLE_EVERY_MS = 50;
/** Resident memory above the limit. */
const RESIDENT_ABOVE_AT_MOST_BYTES = 150 * 1024 ** 2;

export interface StormReport {
  readonly writes: number;
  readonly writtenBytes: number;
  /** Answers other than 2xx. */
  readonly refused: number;
  readonly evictions: number;
  /** The most that was seen: used - limit by the engine's own account, and VmRSS - limit. */
  readonly aboveBytes: number;
  readonly residentAboveBytes: number;
}

/** Writes values of 1 byte to 1 MiB, uniformly random, into a node of 256 MiB, and watches its memory. */
export async function writeStorm(bench: Bench): Promise<StormReport> {
  const node = await startNode(bench, { core: SERVER_CORE, workers: 1, limitBytes: LIMIT_BYTES });
  const url = `http://127.0.0.1:${node.port}`;
  const endMs = Date.now() + SECONDS * 1000;
  const payload = Buffer.alloc(MAX_VALUE_BYTES, "v");
  const total = { writes: 0, writtenBytes: 0, refused: 0 };
  const writer = async (seed: number) => {
    const random = mulberry32(seed);
    while (Date.now() < endMs) {
      const length = 1 + Math.floor(random() * MAX_VALUE_BYTES);
      const key = Math.floor(random() * KEYS);
      const body = payload.subarray(0, length);
      const headers = { "Content-Type": "application/octet-stream" };
      const answer = await fetch(`${url}/api/cache/storm:${key}`, { method: "PUT", body, headers });
      await answer.arrayBuffer();
      total.writes++;
      total.writtenBytes += length;
      if (!answer.ok) total.refused++;
    }
  };
  const watched = watch(node, url, endMs);
  await Promise.all(Array.from({ length: WRITERS }, (_, index) => writer(index + 1)));
  return { ...total, ...(await watched) };
}

export function printStorm(storm: StormReport): void {
  console.log(
    `Storm of writes of 1 byte to 1 MiB for ${SECONDS} s into a node of ${LIMIT_BYTES / 1024 ** 2} MiB: ` +
      `${count(storm.writes)} writes, ${count(storm.writtenBytes / 1024 ** 2)} MiB, ${count(storm.evictions)} evicted, ` +
      `${count(storm.refused)} refused.\n`,
  );
  const above = storm.aboveBytes <= 0;
  const resident = storm.residentAboveBytes <= RESIDENT_ABOVE_AT_MOST_BYTES;
  console.log(
    markdownTable(
      ["the most above the limit", "bytes", "at most", "figure"],
      [
        ["by the engine's own account", count(storm.aboveBytes), "0", above ? "reached" : "MISSED"],
        [
          "resident memory (VmRSS)",
          count(storm.residentAboveBytes),
          count(RESIDENT_ABOVE_AT_MOST_BYTES),
          resident ? "reached" : "MISSED",
        ],
      ],
    ),
  );
}

async function watch(node: ServerProcess, url: string, endMs: number) {
  let aboveBytes = Number.NEGATIVE_INFINITY;
  let residentAboveBytes = Number.NEGATIVE_INFINITY;
  let evictions = 0;
  while (Date.now() < endMs) {
    const stats = await nodeStats(url);
    evictions = stats.evictions;
    aboveBytes = Math.max(aboveBytes, stats.usedBytes - LIMIT_BYTES);
    residentAboveBytes = Math.max(residentAboveBytes, node.residentBytes() - LIMIT_BYTES);
    await Bun.sleep(SAMPLE_EVERY_MS);
  }
  return { aboveBytes, residentAboveBytes, evictions };
}
