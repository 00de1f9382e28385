/**
 * One thread of the stress test: random operations on few keys in little memory, for as long as the test says. Every
 * value says whose it is and carries a checksum, so that a torn or a foreign value can't pass.
 */

import { parentPort, workerData } from "node:worker_threads";
import type { EntryInfo, EntrySink } from "../../../src/engine/engine.ts";
import { MemoryEngine, type MemoryHandle } from "../../../src/engine/memory/memory-engine.ts";
import type { Version } from "../../../src/model/stamp.ts";
import { keyOf } from "../../support/engine-io.ts";

interface StressTask {
  readonly handle: MemoryHandle;
  readonly thread: number;
  readonly seed: number;
  readonly durationMs: number;
  /** Two words: a lock-free source of versions for all threads. */
  readonly versions: SharedArrayBuffer;
}

export interface StressReport {
  readonly operations: number;
  readonly hits: number;
  /** What was wrong with the first bad value, or null. */
  readonly failure: string | null;
}

const KEYS = 3000;
/** Key number, length, both repeated in the checksum. */
const HEADER_BYTES = 12;

class ValueSink implements EntrySink {
  target: Buffer = Buffer.alloc(1024 * 1024 * 4);
  readonly offset = 0;
  length = 0;
  contentType = "";
  expiresAtMs = 0;

  begin(entry: EntryInfo): boolean {
    this.length = entry.valueLength;
    this.contentType = entry.attributes.contentType;
    this.expiresAtMs = entry.expiresAtMs;
    return entry.valueLength <= this.target.length;
  }
}

async function run(task: StressTask): Promise<StressReport> {
  const engine = MemoryEngine.attach(task.handle, task.thread, {
    clock: Date.now,
    letOthersRun: () => Promise.resolve(),
  });
  const versions = new Int32Array(task.versions);
  let state = task.seed;
  const random = (): number => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
  const keys = Array.from({ length: KEYS }, (_, number) => keyOf(`stress:${"x".repeat(number % 30)}:${number}`));
  const source = Buffer.alloc(4 * 1024 * 1024);
  for (let at = 0; at < source.length; at += 4) source.writeUInt32LE((random() * 2 ** 32) >>> 0, at);
  const sink = new ValueSink();
  const report = { operations: 0, hits: 0, failure: null as string | null };
  const endMs = Date.now() + task.durationMs;

  while (report.failure === null && (report.operations % 64 !== 0 || Date.now() < endMs)) {
    report.operations++;
    const number = Math.floor(random() * random() * KEYS);
    const key = keys[number];
    if (key === undefined) throw new Error("no such key");
    const stamp = { version: Atomics.add(versions, 0, 1) as Version, nodeId: 0 };
    const dice = random();
    if (dice < 0.55) {
      if (!engine.get(key, sink)) continue;
      report.hits++;
      report.failure = check(sink, number);
    } else if (dice < 0.85) {
      const length = HEADER_BYTES + Math.floor(sizeOf(random()));
      source.writeUInt32LE(number, 0);
      source.writeUInt32LE(length, 4);
      source.writeUInt32LE(0, 8);
      source.writeUInt32LE(Bun.hash.crc32(source.subarray(0, length)), 8);
      const expiresAtMs = random() < 0.4 ? Date.now() + 1 + Math.floor(random() * 300) : 0;
      engine.put({
        key,
        source,
        start: 0,
        end: length,
        attributes: { contentType: typeOf(number) },
        expiresAtMs,
        stamp,
        condition: null,
      });
    } else if (dice < 0.92) {
      const tombstoneUntilMs = random() < 0.5 ? Date.now() + 100 : 0;
      engine.delete({ key, stamp, condition: null, tombstoneUntilMs });
    } else if (dice < 0.97) {
      engine.touch({ key, expiresAtMs: random() < 0.5 ? 0 : Date.now() + 50, seen: null, condition: null });
    } else if (dice < 0.999) {
      engine.maintain();
    } else if (dice < 0.9997) {
      await engine.deleteMatching({ text: "*7", matches: (bytes, _, end) => bytes[end - 1] === 0x37 }, stamp);
    } else {
      await engine.clear(stamp);
    }
  }
  return report;
}

function check(sink: ValueSink, number: number): string | null {
  const value = sink.target;
  if (sink.contentType !== typeOf(number)) return `key ${number} has the content type ${sink.contentType}`;
  if (value.readUInt32LE(0) !== number) return `key ${number} gave a value of key ${value.readUInt32LE(0)}`;
  if (value.readUInt32LE(4) !== sink.length)
    return `key ${number}: ${value.readUInt32LE(4)} bytes became ${sink.length}`;
  const checksum = value.readUInt32LE(8);
  value.writeUInt32LE(0, 8);
  if (Bun.hash.crc32(value.subarray(0, sink.length)) !== checksum)
    return `key ${number}: torn value of ${sink.length} bytes`;
  // A value that expired a second ago, by the clock of this machine, can't have been found just now.
  if (sink.expiresAtMs !== 0 && sink.expiresAtMs < Date.now() - 1000) return `key ${number} expired long ago`;
  return null;
}

function sizeOf(random: number): number {
  if (random < 0.9) return random * 1500;
  if (random < 0.998) return random * 40_000;
  return (random - 0.998) * 500 * 3_000_000;
}

function typeOf(number: number): string {
  return number % 3 === 0 ? `application/x-stress-${number}` : "application/json";
}

const task: StressTask = workerData;
parentPort?.postMessage(await run(task));
