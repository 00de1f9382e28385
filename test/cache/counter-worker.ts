/** One of several threads that count in the same entry; says how many of its increments were not done. */
import { parentPort, workerData } from "node:worker_threads";
import { Cache } from "../../src/cache/cache.ts";
import { MemoryEngine, type MemoryHandle } from "../../src/engine/memory/memory-engine.ts";
import { HybridClock } from "../../src/model/hybrid-clock.ts";
import { keyOf } from "../support/engine-io.ts";

interface CounterTask {
  readonly handle: MemoryHandle;
  readonly versions: SharedArrayBuffer;
  readonly thread: number;
  readonly count: number;
}

const { handle, versions, thread, count }: CounterTask = workerData;
const cache = new Cache({
  engine: MemoryEngine.attach(handle, thread, { clock: Date.now }),
  versions: HybridClock.attach(versions, Date.now),
  nowMs: Date.now,
  defaultTtlMs: null,
  nodeId: 0,
  link: null,
});
let lost = 0;
for (let turn = 0; turn < count; turn++) {
  const outcome = cache.increment(keyOf("count"), 1, null);
  if (outcome instanceof Promise || outcome.kind !== "incremented") lost++;
}
parentPort?.postMessage(lost);
