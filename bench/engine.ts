import { Worker } from "node:worker_threads";
import { MemoryEngine } from "../src/engine/memory/memory-engine.ts";
import { bytesForEntries } from "../src/engine/memory/sizing.ts";
import { KEY_BYTES, shuffledNumbers } from "./support/engine-keys.ts";
import { OPERATIONS, type Operation, VALUE_BYTES } from "./support/engine-stores.ts";
import type { RunOrder, RunReport, StoreKind, WorkerOrders } from "./support/engine-worker.ts";
import { count, markdownTable, median, ratio } from "./support/table.ts";

const ENTRIES = 1_000_000;
const ROUNDS = 5;
/** So that nothing is evicted, however unevenly keys fall into shards. */
const ROOM = 1.3;

/** Puts, gets and deletes per second on 1 and 2 threads, beside a Map of Buffers and lru-cache. */
export async function benchEngine(): Promise<void> {
  const limitBytes = Math.ceil(bytesForEntries(ENTRIES, KEY_BYTES, VALUE_BYTES) * ROOM);
  const engine = MemoryEngine.create({ limitBytes, threads: 4, clock: Date.now });
  const { handle } = engine;
  const crews = [
    await Crew.of("engine, 1 thread", [{ kind: "engine", handle, thread: 1 }]),
    await Crew.of("engine, 2 threads", [
      { kind: "engine", handle, thread: 2 },
      { kind: "engine", handle, thread: 3 },
    ]),
    await Crew.of("Map of Buffers", [{ kind: "map" }]),
    await Crew.of("lru-cache", [{ kind: "lru-cache" }]),
  ];
  try {
    for (let round = 0; round < ROUNDS; round++) {
      for (const crew of crews) for (const operation of OPERATIONS) await crew.run(operation);
    }
  } finally {
    for (const crew of crews) await crew.stop();
    await engine.close();
  }
  print(crews);
}

function print(crews: readonly Crew[]): void {
  const named = (name: string) => crews.find((crew) => crew.name === name);
  const rate = (name: string, operation: Operation) => named(name)?.rate(operation) ?? Number.NaN;
  const undisturbed = (name: string, operation: Operation) => named(name)?.undisturbedRate(operation) ?? Number.NaN;
  console.log(
    `${count(ENTRIES)} entries, ${KEY_BYTES}-byte keys, ${VALUE_BYTES}-byte values, copied in and out; gets and deletes ` +
      `in random order; operations per second, median of ${ROUNDS} interleaved rounds. "get from bytes": the key comes ` +
      "as bytes, as from a socket, and a Map needs a string made of it.\n",
  );
  const rows = crews.map((crew) => [crew.name, ...OPERATIONS.map((operation) => count(crew.rate(operation)))]);
  console.log(markdownTable(["store", ...OPERATIONS], rows));
  const one = "engine, 1 thread";
  const against = (peer: string) => OPERATIONS.map((operation) => ratio(rate(one, operation) / rate(peer, operation)));
  const scaling = OPERATIONS.map((operation) => ratio(rate("engine, 2 threads", operation) / rate(one, operation)));
  const scalingUndisturbed = OPERATIONS.map((operation) =>
    ratio(undisturbed("engine, 2 threads", operation) / undisturbed(one, operation)),
  );
  console.log("");
  console.log(
    markdownTable(
      ["ratio", ...OPERATIONS, "get, at least"],
      [
        ["engine, 1 thread ÷ Map of Buffers", ...against("Map of Buffers"), "1 x"],
        ["engine, 1 thread ÷ lru-cache", ...against("lru-cache"), ""],
        ["engine, 2 threads ÷ 1 thread", ...scaling, "1.8 x"],
        ["the same, without the time in which neighbours had the core", ...scalingUndisturbed, "1.8 x"],
      ],
    ),
  );
}

/** Threads that work on one store together. */
class Crew {
  readonly #rates = new Map<Operation, number[]>();
  readonly #undisturbedRates = new Map<Operation, number[]>();
  #begun = 0;

  private constructor(
    readonly name: string,
    readonly workers: readonly Worker[],
    readonly barrier: Int32Array<SharedArrayBuffer>,
  ) {}

  static async of(name: string, stores: readonly StoreKind[]): Promise<Crew> {
    const barrier = new Int32Array(new SharedArrayBuffer(4));
    const all = shuffledNumbers(ENTRIES);
    const each = ENTRIES / stores.length;
    const workers: Worker[] = [];
    for (const [index, store] of stores.entries()) {
      const shuffled = all.slice(index * each, (index + 1) * each);
      const workerData: WorkerOrders = { store, slice: { ordered: shuffled.toSorted(), shuffled }, barrier };
      const worker = new Worker(new URL("./support/engine-worker.ts", import.meta.url), { workerData });
      await message(worker);
      workers.push(worker);
    }
    return new Crew(name, workers, barrier);
  }

  async run(operation: Operation): Promise<void> {
    this.#begun += this.workers.length;
    const order: RunOrder = { operation, beginAt: this.#begun };
    const reports = this.workers.map((worker) => message<RunReport>(worker));
    for (const worker of this.workers) worker.postMessage(order);
    const done = await Promise.all(reports);
    const operations = done.reduce((total, report) => total + report.done, 0);
    if (operations !== ENTRIES) throw new Error(`${this.name}: ${operations} of ${ENTRIES} did "${operation}"`);
    const elapsedMs = Math.max(...done.map((report) => report.elapsedMs));
    const ranMs = Math.max(...done.map((report) => report.elapsedMs - report.waitedMs));
    this.#rates.set(operation, [...(this.#rates.get(operation) ?? []), (operations / elapsedMs) * 1000]);
    this.#undisturbedRates.set(operation, [
      ...(this.#undisturbedRates.get(operation) ?? []),
      (operations / ranMs) * 1000,
    ]);
  }

  rate(operation: Operation): number {
    return median(this.#rates.get(operation) ?? []);
  }

  /** The rate, leaving out the time in which neighbours on the machine had the core. */
  undisturbedRate(operation: Operation): number {
    return median(this.#undisturbedRates.get(operation) ?? []);
  }

  async stop(): Promise<void> {
    for (const worker of this.workers) await worker.terminate();
  }
}

function message<T>(worker: Worker): Promise<T> {
  return new Promise((resolve, reject) => {
    worker.once("error", reject);
    worker.once("message", (received: T) => {
      worker.off("error", reject);
      resolve(received);
    });
  });
}
