/** One thread of the race: a reader, which only reads, or a writer. */

import { parentPort, workerData } from "node:worker_threads";
import type { EntryInfo, EntrySink } from "../../../../src/engine/engine.ts";
import type { MemoryEngine, MemoryHandle } from "../../../../src/engine/memory/memory-engine.ts";
import type { Version } from "../../../../src/model/stamp.ts";
import { keyOf } from "../../../support/engine-io.ts";
import { faultOf, HEADER_BYTES, writeValue } from "./values.ts";

/** How long values are: in one segment and across two, or of every class. */
export type Sizes = "crossing" | "all";

export interface RaceTask {
  /** Module of the engine. */
  readonly enginePath: string;
  readonly handle: MemoryHandle;
  readonly thread: number;
  readonly seed: number;
  readonly sizes: Sizes;
  readonly keys: number;
  /** Of a reader: how many gets it does. 0 = a writer. */
  readonly gets: number;
  /** Of a writer: its number among the writers, each of which has keys of its own. */
  readonly writer: number;
  readonly writers: number;
  /** One word: 1 = the readers are done. */
  readonly end: SharedArrayBuffer;
  /** For each key, the newest generation that has been put or deleted, written when that is over; then the last one given. */
  readonly generations: SharedArrayBuffer;
}

export interface RaceReport {
  readonly gets: number;
  readonly hits: number;
  readonly puts: number;
  /** Puts that were refused: the tombstone of a newer delete had no room, or none could be made for the put. */
  readonly refused: number;
  readonly wrong: number;
  /** The first of them. */
  readonly faults: readonly string[];
}

const MOST_FAULTS = 3;
const MAX_VALUE_BYTES = 128 * 1024;

class WordSink implements EntrySink {
  readonly words = new Int32Array(MAX_VALUE_BYTES / 4);
  readonly target = Buffer.from(this.words.buffer);
  readonly offset = 0;
  bytes = 0;
  expiresAtMs = 0;
  /** What the engine says of the length may be of another record, as long as it isn't sure. */
  begin(entry: EntryInfo): boolean {
    this.bytes = entry.valueLength;
    this.expiresAtMs = entry.expiresAtMs;
    return entry.valueLength <= MAX_VALUE_BYTES;
  }
}

const task: RaceTask = workerData;
const { MemoryEngine: Engine }: { MemoryEngine: typeof MemoryEngine } = await import(task.enginePath);
const engine = Engine.attach(task.handle, task.thread, { clock: Date.now, letOthersRun: () => Promise.resolve() });
const keys = Array.from({ length: task.keys }, (_, number) => keyOf(`race:${"k".repeat(number % 40)}:${number}`));
const generations = new Int32Array(task.generations);
const end = new Int32Array(task.end);
let state = task.seed;
parentPort?.postMessage(task.gets > 0 ? read() : await write());

function random(): number {
  state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
  return state / 2 ** 32;
}

/** Any key, or one of the first, which are read and written most. */
function drawKey(): number {
  return Math.floor(task.keys * (random() < 0.3 ? 0.02 * random() : random()));
}

function read(): RaceReport {
  const sink = new WordSink();
  const report = { gets: 0, hits: 0, puts: 0, refused: 0, wrong: 0, faults: [] as string[] };
  for (; report.gets < task.gets; report.gets++) {
    const number = drawKey();
    const key = keys[number];
    if (key === undefined) throw new Error("no such key");
    const nowMs = Date.now();
    const oldest = Atomics.load(generations, number);
    const fault = readOne();
    if (fault === null) continue;
    report.wrong++;
    if (report.faults.length < MOST_FAULTS) report.faults.push(`get ${report.gets}, key ${number}: ${fault}`);

    function readOne(): string | null {
      try {
        if (key === undefined || !engine.get(key, sink)) return null;
      } catch (error) {
        return `threw ${error}`;
      }
      report.hits++;
      const { bytes, expiresAtMs } = sink;
      return faultOf(sink.words, { key: number, bytes, expiresAtMs, oldest, nowMs }, report.hits);
    }
  }
  return report;
}

async function write(): Promise<RaceReport> {
  const words = new Int32Array(MAX_VALUE_BYTES / 4);
  const source = Buffer.from(words.buffer);
  const report = { gets: 0, hits: 0, puts: 0, refused: 0, wrong: 0, faults: [] as string[] };
  while (Atomics.load(end, 0) === 0) {
    const drawn = drawKey();
    const number = Math.min(drawn - (drawn % task.writers) + task.writer, lastKey());
    const key = keys[number];
    if (key === undefined) throw new Error("no such key");
    const generation = Atomics.add(generations, task.keys, 1) + 1;
    const stamp = { version: generation as Version, nodeId: 0 };
    const dice = random();
    if (dice < 0.92) {
      const bytes = lengthOf(random(), random());
      const expiresAtMs = random() < 0.1 ? Date.now() + 1 + Math.floor(random() * 40) : 0;
      writeValue(words, { key: number, bytes, generation, expiresAtMs });
      const contentType = number % 5 === 0 ? `application/x-race-${number}` : "application/json";
      const put = {
        key,
        source,
        start: 0,
        end: bytes,
        attributes: { contentType },
        expiresAtMs,
        stamp,
        condition: null,
      };
      report.puts++;
      if (engine.put(put) === "stored") Atomics.store(generations, number, generation);
      else report.refused++;
    } else if (dice < 0.98) {
      const outcome = engine.delete({
        key,
        stamp,
        condition: null,
        tombstoneUntilMs: dice < 0.95 ? Date.now() + 20 : 0,
      });
      if (outcome !== "superseded") Atomics.store(generations, number, generation);
    } else {
      engine.maintain();
    }
  }
  return report;
}

/** The last of the writer's keys. */
function lastKey(): number {
  const last = task.keys - 1;
  return last - ((last - task.writer + task.writers) % task.writers);
}

function lengthOf(kind: number, size: number): number {
  if (task.sizes === "crossing") return 500 + Math.floor(size * 5_000);
  if (kind < 0.4) return HEADER_BYTES + Math.floor(size * 480);
  if (kind < 0.8) return 500 + Math.floor(size * 5_000);
  if (kind < 0.99) return 5_500 + Math.floor(size * 30_000);
  return MAX_VALUE_BYTES - Math.floor(size * 20_000);
}
