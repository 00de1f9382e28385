import { parentPort, workerData } from "node:worker_threads";
import { lock, unlock } from "../../src/runtime/shared-lock.ts";

const { words, rounds, threads }: { words: Int32Array; rounds: number; threads: number } = workerData;
// All begin at the same time.
Atomics.add(words, 2, 1);
while (Atomics.load(words, 2) < threads);
for (let round = 0; round < rounds; round++) {
  lock(words, 0);
  const seen = words[1] ?? 0;
  // Time enough for another thread to come in, were there no lock: a count would be lost.
  for (let spins = 0; spins < 20; spins++) Atomics.load(words, 2);
  words[1] = seen + 1;
  unlock(words, 0);
}
parentPort?.postMessage("done");
