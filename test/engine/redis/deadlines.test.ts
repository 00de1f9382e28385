import { expect, test } from "bun:test";
import { Deadlines } from "../../../src/engine/redis/deadlines.ts";

const TIMEOUT_MS = 20;

/** A command that tells with what it was rejected. */
function makeCommand() {
  const { promise, reject } = Promise.withResolvers<never>();
  const command = {
    name: "get",
    isSettled: false,
    reject(error: Error) {
      command.isSettled = true;
      reject(error);
    },
  };
  const error = promise.catch((reason: Error) => reason);
  return { command, error };
}

function waitedMs(error: Error): number {
  return Number(/within (\d+) ms/.exec(error.message)?.[1]);
}

test("a command that gets no reply is rejected when its time is over", async () => {
  const deadlines = new Deadlines({ timeoutMs: TIMEOUT_MS, arrivedBytes: () => 0 });
  const { command, error } = makeCommand();
  deadlines.watch(command);
  expect(waitedMs(await error)).toBeGreaterThanOrEqual(TIMEOUT_MS - 1);
});

test("a large command, and what is sent behind it, get the time that a slow link needs for it", async () => {
  const deadlines = new Deadlines({ timeoutMs: TIMEOUT_MS, arrivedBytes: () => 0 });
  const large = makeCommand();
  const behind = makeCommand();
  deadlines.watch(large.command, 200_000);
  deadlines.watch(behind.command);
  expect(waitedMs(await large.error)).toBeGreaterThanOrEqual(TIMEOUT_MS + 99);
  expect(waitedMs(await behind.error)).toBeGreaterThanOrEqual(TIMEOUT_MS + 98);
});

test("a command that was answered leaves its time to nobody", async () => {
  const deadlines = new Deadlines({ timeoutMs: TIMEOUT_MS, arrivedBytes: () => 0 });
  const large = makeCommand();
  deadlines.watch(large.command, 1e9);
  large.command.isSettled = true;
  const next = makeCommand();
  deadlines.watch(next.command);
  // What was answered would have had more than 400 s.
  expect(waitedMs(await next.error)).toBeLessThan(100_000);
});

test("a command waits as long as a reply is arriving", async () => {
  let looks = 0;
  let isArriving = true;
  let arrived = 0;
  const stopped = Promise.withResolvers<void>();
  const deadlines = new Deadlines({
    timeoutMs: TIMEOUT_MS,
    arrivedBytes() {
      if (!isArriving) return arrived;
      arrived += 1e9;
      if (++looks === 12) {
        isArriving = false;
        stopped.resolve();
      }
      return arrived;
    },
  });
  const { command, error } = makeCommand();
  deadlines.watch(command);
  await stopped.promise;
  expect(command.isSettled).toBe(false);
  expect(waitedMs(await error)).toBeGreaterThan(2 * TIMEOUT_MS);
});
