import { describe, expect, test } from "bun:test";
import { once } from "node:events";
import { Worker } from "node:worker_threads";
import { lock, unlock } from "../../src/runtime/shared-lock.ts";

/** Words: the lock, a number that it guards, threads that have come. */
function startWorker(words: Int32Array, rounds: number, threads: number): Promise<unknown> {
  return once(
    new Worker(new URL("./lock-worker.ts", import.meta.url), { workerData: { words, rounds, threads } }),
    "message",
  );
}

describe("the shared lock", () => {
  test("lets one thread in at a time", async () => {
    const words = new Int32Array(new SharedArrayBuffer(12));
    await Promise.all([1, 2, 3].map(() => startWorker(words, 50_000, 3)));
    expect([...words]).toEqual([0, 150_000, 3]);
  });

  test("keeps a thread out, asleep, until its holder leaves", async () => {
    const words = new Int32Array(new SharedArrayBuffer(12));
    lock(words, 0);
    const done = startWorker(words, 1, 1);
    // Wakes one that sleeps, so it is there; the lock is still held, so it sleeps again.
    while (Atomics.notify(words, 0, 1) === 0 && words[1] === 0) await new Promise((resolve) => setImmediate(resolve));
    expect([...words]).toEqual([1, 0, 1]);
    unlock(words, 0);
    await done;
    expect([...words]).toEqual([0, 1, 1]);
  });

  test("uses its own word only", () => {
    const words = new Int32Array(new SharedArrayBuffer(16)).fill(7);
    words[2] = 0;
    lock(words, 2);
    expect([...words]).toEqual([7, 7, 1, 7]);
    unlock(words, 2);
    expect([...words]).toEqual([7, 7, 0, 7]);
  });
});
