import { Worker } from "node:worker_threads";
import type { MemoryEngine } from "../../../../src/engine/memory/memory-engine.ts";
import type { RaceReport, RaceTask, Sizes } from "./race-worker.ts";

export const ENGINE_PATH = new URL("../../../../src/engine/memory/memory-engine.ts", import.meta.url).pathname;

const LIMIT_BYTES = 2 * 1024 * 1024;
/** More than fit, so that puts evict, and few enough to be found. */
const KEYS: Readonly<Record<Sizes, number>> = { crossing: 900, all: 600 };

export interface RaceOptions {
  readonly readers: number;
  readonly writers: number;
  readonly sizes: Sizes;
  /** Of all readers together. */
  readonly gets: number;
  readonly seed: number;
  /** Module of the engine; by default this one's. */
  readonly enginePath?: string;
}

export interface RaceResult extends RaceReport {
  readonly evictions: number;
  readonly engine: MemoryEngine;
}

/**
 * Readers, which only read, against writers that overwrite what is read in a full cache of 2 MiB. Each value says what it
 * is (see `values.ts`): a foreign, torn, expired, overwritten or deleted one is counted as wrong, as is an exception.
 */
export async function race(options: RaceOptions): Promise<RaceResult> {
  const { readers, writers, sizes, gets, seed, enginePath = ENGINE_PATH } = options;
  const { MemoryEngine: Engine }: { MemoryEngine: typeof MemoryEngine } = await import(enginePath);
  const threads = readers + writers + 1;
  const engine = Engine.create({ limitBytes: LIMIT_BYTES, threads, clock: Date.now, randomWord: () => 0x5eed });
  const end = new SharedArrayBuffer(4);
  const keys = KEYS[sizes];
  const shared = {
    enginePath,
    handle: engine.handle,
    sizes,
    keys,
    writers,
    end,
    generations: new SharedArrayBuffer(4 * (keys + 1)),
  };
  const start = (number: number, own: { readonly gets: number; readonly writer: number }) => {
    const workerData: RaceTask = { ...shared, ...own, thread: number + 1, seed: seed * 100 + number };
    return reportOf(new Worker(new URL("./race-worker.ts", import.meta.url), { workerData }));
  };
  const reading = Array.from({ length: readers }, (_, number) =>
    start(number, { gets: Math.ceil(gets / readers), writer: 0 }),
  );
  const writing = Array.from({ length: writers }, (_, writer) => start(readers + writer, { gets: 0, writer }));
  // A writer that fails ends the race: its readers would go on alone.
  await Promise.race([Promise.all(reading), Promise.all(writing)]);
  Atomics.store(new Int32Array(end), 0, 1);
  const reports = await Promise.all([...reading, ...writing]);
  const sum = (of: (report: RaceReport) => number) => reports.reduce((total, report) => total + of(report), 0);
  return {
    engine,
    evictions: engine.stats().evictions,
    gets: sum((report) => report.gets),
    hits: sum((report) => report.hits),
    puts: sum((report) => report.puts),
    refused: sum((report) => report.refused),
    wrong: sum((report) => report.wrong),
    faults: reports.flatMap((report) => report.faults),
  };
}

function reportOf(worker: Worker): Promise<RaceReport> {
  return new Promise((resolve, reject) => {
    worker.once("message", resolve);
    worker.once("error", reject);
  });
}
