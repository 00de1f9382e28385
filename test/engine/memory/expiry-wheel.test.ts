import { describe, expect, test } from "bun:test";
import { MemoryEngine } from "../../../src/engine/memory/memory-engine.ts";
import { NEVER } from "../../../src/model/entry.ts";
import { checkInvariants } from "../../support/engine-invariants.ts";
import { keyOf, ManualClock, pruneAll, RecordingSink, smallEngine, stampOf } from "../../support/engine-io.ts";
import { TracedMemory } from "../../support/traced-memory.ts";

const MINUTE_MS = 60_000;
const YEAR_MS = 365 * 24 * 60 * MINUTE_MS;
/** Far fewer than there are ticks of 128 ms in a month. */
const MOST_LOADS = 100_000;

function put(engine: MemoryEngine, name: string, expiresAtMs: number): void {
  const source = Buffer.from(name);
  const value = { source, start: 0, end: source.length, contentType: "application/json" };
  const key = keyOf(name);
  expect(engine.put({ key, ...value, expiresAtMs, stamp: stampOf(1), condition: null })).toBe("stored");
}

describe("pruning after the clock was set forward", () => {
  test.each([
    ["a month", YEAR_MS / 12],
    ["a year", YEAR_MS],
    ["eight years", 8 * YEAR_MS],
  ])("by %s takes no step for each tick in between", (_, aheadMs) => {
    const clock = new ManualClock();
    const engine = smallEngine(200_000, clock);
    put(engine, "soon", clock.nowMs + 5 * MINUTE_MS);
    put(engine, "late", clock.nowMs + aheadMs + 2 * MINUTE_MS);
    put(engine, "later", clock.nowMs + aheadMs + YEAR_MS / 3);
    put(engine, "for ever", NEVER);
    const trace = new TracedMemory(engine.handle);
    const pruner = MemoryEngine.attach(engine.handle, 0, { clock: clock.read, views: trace.views });
    let loads = 0;
    trace.hooks = {
      load: () => {
        if (++loads > MOST_LOADS) throw new Error("too many loads");
      },
    };
    clock.nowMs += aheadMs;
    trace.run(() => pruneAll(pruner));
    checkInvariants(engine.handle);
    expect(engine.stats()).toMatchObject({ entries: 3, expirations: 1 });
    clock.nowMs += 3 * MINUTE_MS;
    pruneAll(engine);
    expect(engine.stats().expirations).toBe(2);
    expect(engine.get(keyOf("later"), new RecordingSink())).toBe(true);
  });
});

test("entries end when they should though the clock went back", () => {
  const clock = new ManualClock();
  const engine = smallEngine(200_000, clock);
  put(engine, "a", clock.nowMs + 10 * MINUTE_MS);
  clock.nowMs += 5 * MINUTE_MS;
  pruneAll(engine);
  clock.nowMs -= 60 * MINUTE_MS;
  put(engine, "b", clock.nowMs + MINUTE_MS);
  pruneAll(engine);
  expect(engine.get(keyOf("b"), new RecordingSink())).toBe(true);
  clock.nowMs += MINUTE_MS;
  expect(engine.get(keyOf("b"), new RecordingSink())).toBe(false);
  clock.nowMs += 70 * MINUTE_MS;
  pruneAll(engine);
  checkInvariants(engine.handle);
  expect(engine.stats()).toMatchObject({ entries: 0, expirations: 2 });
});
