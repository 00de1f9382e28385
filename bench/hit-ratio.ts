import { MemoryEngine } from "../src/engine/memory/memory-engine.ts";
import { bytesForEntries } from "../src/engine/memory/sizing.ts";
import { lru } from "./simulators/lru.ts";
import { opt } from "./simulators/opt.ts";
import { hitRatio, type Policy, type PolicyFactory, type Requests } from "./simulators/policy.ts";
import { s3Fifo } from "./simulators/s3-fifo.ts";
import { sieve } from "./simulators/sieve.ts";
import { EngineRequests, engineKeys, FixedSink, KEY_BYTES } from "./support/engine-keys.ts";
import { markdownTable } from "./support/table.ts";
import { requireTools } from "./support/tools.ts";
import { loadTrace, TRACE_FILES, traceFolder } from "./support/traces.ts";

const VALUE_BYTES = 100;
const MIB = 1024 * 1024;
/** MiB of the limit and of a value. */
const FEW_LARGE = [
  [64, 2],
  [64, 1],
  [256, 2],
  [256, 1],
  [512, 2],
  [512, 1],
] as const;
/** The others are too long for entries of megabytes, or say the same. */
const FEW_LARGE_TRACES: readonly string[] = ["web12", "multi2"];
/** The engine's mean may be below S3-FIFO's by so much, and a single ratio below LRU's by so much. */
const BELOW_S3_FIFO = 0.005;
const BELOW_LRU = 0.02;

const POLICIES: readonly (readonly [string, PolicyFactory])[] = [
  ["engine", engineAsPolicy],
  ["LRU", lru],
  ["SIEVE", sieve],
  ["S3-FIFO", s3Fifo],
  ["OPT", opt],
];

/** Replays the traces through the real engine, and through textbook simulations beside it. */
export async function benchHitRatio(): Promise<void> {
  await requireTools(["xz"]);
  const folder = traceFolder();
  if (folder === null) {
    throw new Error(
      "the traces are missing: put them into ../shared/traces, or name their folder in SERV_CACHE_TRACES",
    );
  }
  const rows: string[][] = [];
  const columns = POLICIES.map((): number[] => []);
  for (const trace of TRACE_FILES) {
    const requests = loadTrace(trace, folder);
    for (const { percent, items } of trace.reference) {
      const ratios = POLICIES.map(([, factory]) => hitRatio(factory, items, requests));
      for (const [index, value] of ratios.entries()) columns[index]?.push(value);
      const [engine = 0, ofLru = 0] = ratios;
      rows.push([
        `${trace.name} ${percent} %`,
        items.toLocaleString("en-US"),
        ...ratios.map(four),
        signed(engine - ofLru),
        engine < ofLru - BELOW_LRU ? "MISSED" : "reached",
      ]);
    }
  }
  const means = columns.map((values) => values.reduce((total, value) => total + value, 0) / values.length);
  const [engine = 0, , , ofS3Fifo = 0] = means;
  rows.push(["mean", "", ...means.map(four), "", engine < ofS3Fifo - BELOW_S3_FIFO ? "MISSED" : "reached"]);
  const names = POLICIES.map(([name]) => name);
  console.log(
    "Hit ratios; one request is a get, filled by a put on a miss. The engine has as many bytes as so many entries of " +
      `${KEY_BYTES}-byte keys and ${VALUE_BYTES}-byte values need. To reach: nowhere below LRU by more than ` +
      `${BELOW_LRU}; mean at least S3-FIFO's - ${BELOW_S3_FIFO}.\n`,
  );
  console.log(markdownTable(["trace", "items", ...names, "engine - LRU", "figure"], rows));
  console.log(`\nMean: engine - S3-FIFO = ${signed(engine - ofS3Fifo)}`);
  benchFewLarge(folder);
}

/** Entries of which a shard holds one or two. LRU has the whole limit for values, without any overhead. */
function benchFewLarge(folder: string): void {
  const rows: string[][] = [];
  for (const trace of TRACE_FILES.filter(({ name }) => FEW_LARGE_TRACES.includes(name))) {
    const requests = loadTrace(trace, folder);
    for (const [limitMiB, valueMiB] of FEW_LARGE) {
      const items = limitMiB / valueMiB;
      const engine = hitRatio(
        () => new EnginePolicy(limitMiB * MIB, valueMiB * MIB, requests.distinct),
        items,
        requests,
      );
      const [ofLru, ofS3Fifo] = [lru, s3Fifo].map((factory) => hitRatio(factory, items, requests)) as [number, number];
      const figure = engine > ofLru ? "reached" : "MISSED";
      const name = `${trace.name}, ${limitMiB} MiB of ${valueMiB} MiB`;
      rows.push([name, String(items), four(engine), four(ofLru), four(ofS3Fifo), signed(engine - ofLru), figure]);
    }
  }
  console.log("\nFew large entries. To reach: above LRU, which has no overhead here.\n");
  console.log(markdownTable(["trace", "items", "engine", "LRU", "S3-FIFO", "engine - LRU", "figure"], rows));
}

/** The engine with memory for `capacity` small entries, as a policy. */
export function engineAsPolicy(capacity: number, requests: Requests): Policy {
  return new EnginePolicy(bytesForEntries(capacity, KEY_BYTES, VALUE_BYTES), VALUE_BYTES, requests.distinct);
}

class EnginePolicy implements Policy {
  readonly name = "engine";
  readonly #keys;
  readonly #requests;
  readonly #sink = new FixedSink(0, false);
  readonly #engine: MemoryEngine;

  constructor(limitBytes: number, valueBytes: number, distinct: number) {
    this.#keys = engineKeys(Int32Array.from({ length: distinct }, (_, index) => index));
    this.#requests = new EngineRequests(valueBytes, { bytes: Buffer.alloc(0), length: 0 });
    this.#engine = MemoryEngine.create({ limitBytes, threads: 1, clock: Date.now });
  }

  request(number: number): boolean {
    const key = this.#keys[number];
    if (key === undefined) throw new RangeError(`no key ${number}`);
    if (this.#engine.get(key, this.#sink) === true) return true;
    const outcome = this.#engine.put(this.#requests.put(key));
    if (outcome !== "stored") throw new Error(`a put was answered ${outcome}`);
    return false;
  }
}

function four(value: number): string {
  return value.toFixed(4);
}

function signed(value: number): string {
  return `${value < 0 ? "-" : "+"}${Math.abs(value).toFixed(4)}`;
}
