import { join } from "node:path";
import { quietPort } from "../../test/support/free-port.ts";
import type { Bench, ServerProcess } from "./process.ts";

const ROOT = join(import.meta.dirname, "..", "..");

export interface NodeOptions {
  readonly core: number | null;
  readonly workers: number;
  /** `SERV_CACHE_ENTRY_MEMORY`. */
  readonly limitBytes: number;
  /** By default any that is free. */
  readonly port?: number;
  /** More settings. */
  readonly env?: Readonly<Record<string, string>>;
}

/**
 * Starts a ServCache node the way a user does. `SERV_CACHE_BENCH_COMMAND` names another program to measure (an older
 * build): it gets `serve --addr 127.0.0.1:PORT` and the same environment; its `SERV_CACHE_MAX_MEMORY` is that of entries.
 */
export function startNode(bench: Bench, options: NodeOptions): Promise<ServerProcess> {
  const port = options.port ?? quietPort();
  const program = process.env.SERV_CACHE_BENCH_COMMAND?.split(" ") ?? [process.execPath, join(ROOT, "src/main.ts")];
  return bench.start({
    name: "ServCache",
    command: [...program, "serve", "--addr", `127.0.0.1:${port}`],
    core: options.core,
    env: {
      SERV_CACHE_WORKERS: String(options.workers),
      ...memoryOf(options),
      SERV_CACHE_DATA_DIR: join(bench.folder, `data-${port}`),
      ...options.env,
    },
    port,
    // A connection alone says nothing: for a moment the node listens only to see whether the port is free.
    isReady: () =>
      fetch(`http://127.0.0.1:${port}/readyz`).then(
        ({ status }) => status !== 503,
        () => false,
      ),
  });
}

/** What a node takes beside its entries, in the largest benchmark. */
const BESIDE_ENTRIES_BYTES = 1024 ** 3;

function memoryOf({ limitBytes }: NodeOptions): Record<string, string> {
  if (process.env.SERV_CACHE_BENCH_COMMAND !== undefined) return { SERV_CACHE_MAX_MEMORY: String(limitBytes) };
  const wholeBytes = limitBytes + BESIDE_ENTRIES_BYTES;
  return { SERV_CACHE_ENTRY_MEMORY: String(limitBytes), SERV_CACHE_MAX_MEMORY: String(wholeBytes) };
}

const SETS_PER_BATCH = 1000;
const BATCHES_AT_ONCE = 4;
const SETS_PER_PACED_BATCH = 500;

export interface FillOptions {
  readonly count: number;
  readonly keyOf: (index: number) => string;
  /** JSON text. */
  readonly valueJson: string;
  /** Entries expire at this time, in ms since the Unix epoch, all of them; null = never. */
  readonly expiresAtMs: number | null;
  /** Sends small batches one after the other with this pause between them; 0 = as fast as it goes. */
  readonly pauseMs: number;
}

/** Stores entries over HTTP, in batches. */
export async function fill(port: number, options: FillOptions): Promise<void> {
  const paced = options.pauseMs > 0;
  const setsPerBatch = paced ? SETS_PER_PACED_BATCH : SETS_PER_BATCH;
  let next = 0;
  const sendBatches = async () => {
    while (next < options.count) {
      const first = next;
      next = Math.min(options.count, first + setsPerBatch);
      await sendBatch(port, options, first, next);
      if (paced) await Bun.sleep(options.pauseMs);
    }
  };
  await Promise.all(Array.from({ length: paced ? 1 : BATCHES_AT_ONCE }, sendBatches));
}

async function sendBatch(port: number, options: FillOptions, first: number, end: number): Promise<void> {
  const ttl = options.expiresAtMs === null ? "0" : `${Math.max(1, options.expiresAtMs - Date.now())}ms`;
  const operations: string[] = [];
  for (let index = first; index < end; index++) {
    operations.push(`{"op":"set","key":"${options.keyOf(index)}","value":${options.valueJson},"ttl":"${ttl}"}`);
  }
  const answer = await fetch(`http://127.0.0.1:${port}/api/batch`, {
    method: "POST",
    body: `{"operations":[${operations.join(",")}]}`,
  });
  const text = await answer.text();
  if (answer.status !== 200 || !text.includes('"status":200')) {
    throw new Error(`filling failed: ${answer.status} ${text.slice(0, 200)}`);
  }
}

export interface NodeStats {
  readonly entries: number;
  readonly hits: number;
  readonly misses: number;
  readonly evictions: number;
  readonly usedBytes: number;
  readonly limitBytes: number;
}

/** `GET /api/stats`. */
export async function nodeStats(url: string): Promise<NodeStats> {
  const answer: unknown = await (await fetch(`${url}/api/stats`)).json();
  const field = (name: string) => {
    const value = typeof answer === "object" && answer !== null ? Reflect.get(answer, name) : undefined;
    if (typeof value !== "number") throw new Error(`/api/stats has no number "${name}": ${JSON.stringify(answer)}`);
    return value;
  };
  return {
    entries: field("entries"),
    hits: field("hits"),
    misses: field("misses"),
    evictions: field("evictions"),
    usedBytes: field("bytes"),
    limitBytes: field("limit_bytes"),
  };
}

/** JSON text of a string, `bytes` long with its quotes. */
export function jsonValue(bytes: number): string {
  return `"${"v".repeat(bytes - 2)}"`;
}
