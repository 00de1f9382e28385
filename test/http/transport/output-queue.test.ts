import { expect, test } from "bun:test";
import { DEFAULT_HTTP_LIMITS } from "../../../src/http/transport/limits.ts";
import { OutputQueue } from "../../../src/http/transport/output-queue.ts";
import { Turns } from "../../../src/http/transport/turns.ts";
import { ByteBudget, InFlight } from "../../../src/runtime/byte-budget.ts";

const KB = 1000;
const ANSWER_BYTES = 2 * 1024 * 1024;
const SWEEP_MS = 1_000;

/** A socket of a kernel that takes bytes as its client reads: `roomBytes` at this moment. */
class SlowSocket {
  readonly remoteAddress = "";
  roomBytes = 0;
  write(_: Buffer, __: number, length: number): number {
    const taken = Math.min(length, this.roomBytes);
    this.roomBytes -= taken;
    return taken;
  }
  shutdown(): void {}
  end(): void {}
  terminate(): void {}
  pause(): void {}
  resume(): void {}
}

/** Sweeps over an answer as a connection does; gives the second at which it is cut, or null where it arrives. */
function secondOfCut(roomAt: (second: number) => number, takenByOthers = 0): number | null {
  const budget = ByteBudget.create(16 * ANSWER_BYTES);
  budget.count(InFlight.Bodies, takenByOthers);
  const turns = new Turns(() => {});
  const context = { limits: DEFAULT_HTTP_LIMITS, budget, monotonicMs: 0, sweepIntervalMs: SWEEP_MS, turns };
  const socket = new SlowSocket();
  const queue = new OutputQueue(socket, context, { takeTurn() {} });
  expect(queue.addShared(Buffer.alloc(ANSWER_BYTES), 0, ANSWER_BYTES)).toBe(true);
  for (let second = 1; !queue.isEmpty; second++) {
    context.monotonicMs += SWEEP_MS;
    socket.roomBytes += roomAt(second);
    queue.send();
    if (queue.isTooSlow) return second;
  }
  expect(budget.usedBytes).toBe(takenByOthers);
  return null;
}

test.each([10, 15, 25])("a client that steadily reads %d kB/s gets its whole answer", (rate) => {
  expect(secondOfCut(() => rate * KB)).toBeNull();
});

test("so does one whose kernel tells of its reading in large steps, far apart", () => {
  expect(secondOfCut((second) => (second % 40 === 0 ? 400 * KB : 0))).toBeNull();
});

test("a client that reads nothing, or a byte now and then, is cut after one window", () => {
  const windowSeconds = (DEFAULT_HTTP_LIMITS.writeTimeoutMs + SWEEP_MS) / 1000;
  expect(secondOfCut(() => 0)).toBe(windowSeconds);
  expect(secondOfCut((second) => (second % 7 === 0 ? 1 : 0))).toBe(windowSeconds);
});

test("a client that read quickly and stops is cut in the next window", () => {
  expect(secondOfCut((second) => (second === 1 ? 1000 * KB : 0))).toBe(122);
});

test("while bytes in flight are scarce, a client that holds some has to read quickly", () => {
  expect(secondOfCut(() => 10 * KB, 12 * ANSWER_BYTES)).toBe(3);
  expect(secondOfCut(() => 100 * KB, 12 * ANSWER_BYTES)).toBeNull();
});
