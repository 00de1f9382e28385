/** A thread of the engine benchmark: makes its store, then runs what it is told to, together with its fellows. */
import { parentPort, workerData } from "node:worker_threads";
import {
  type EngineHandle,
  EngineStore,
  lruCacheStore,
  mapStore,
  type Operation,
  type Slice,
  type Store,
} from "./engine-stores.ts";
import { threadWaitedForCoreMs } from "./process.ts";

export type StoreKind =
  | { readonly kind: "engine"; readonly handle: EngineHandle; readonly thread: number }
  | { readonly kind: "map" }
  | { readonly kind: "lru-cache" };

export interface WorkerOrders {
  readonly store: StoreKind;
  readonly slice: Slice;
  /** One cell that counts the threads that are ready to begin. */
  readonly barrier: Int32Array<SharedArrayBuffer>;
}

export interface RunOrder {
  readonly operation: Operation;
  /** Begin when the barrier has counted so far. */
  readonly beginAt: number;
}

export interface RunReport {
  /** Operations that found what they should. */
  readonly done: number;
  readonly elapsedMs: number;
  /** Of it, how long the thread was ready to run and had no core, because of neighbours on the machine. */
  readonly waitedMs: number;
}

const orders: WorkerOrders = workerData;
const store = makeStore(orders);
parentPort?.on("message", (order: RunOrder) => {
  Atomics.add(orders.barrier, 0, 1);
  while (Atomics.load(orders.barrier, 0) < order.beginAt);
  const waitedBeforeMs = threadWaitedForCoreMs();
  const startMs = performance.now();
  const done = store.run(order.operation);
  const elapsedMs = performance.now() - startMs;
  const report: RunReport = { done, elapsedMs, waitedMs: threadWaitedForCoreMs() - waitedBeforeMs };
  parentPort?.postMessage(report);
});
parentPort?.postMessage("ready");

function makeStore({ store, slice }: WorkerOrders): Store {
  switch (store.kind) {
    case "engine":
      return new EngineStore(slice, store.handle, store.thread);
    case "map":
      return mapStore(slice);
    case "lru-cache":
      return lruCacheStore(slice);
  }
}
