import { parentPort, workerData } from "node:worker_threads";
import { HybridClock } from "../../src/model/hybrid-clock.ts";

const { buffer, count }: { buffer: SharedArrayBuffer; count: number } = workerData;
const clock = HybridClock.attach(buffer, Date.now);
parentPort?.postMessage(Float64Array.from({ length: count }, () => clock.next()));
