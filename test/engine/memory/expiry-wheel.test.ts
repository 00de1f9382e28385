import { beforeEach, describe, expect, test } from "bun:test";
import fc from "fast-check";
import { ExpiryWheel, TICK_MS } from "../../../src/engine/memory/expiry-wheel.ts";
import { SHARD_SMALL, SHARD_WHEEL_COUNT, SHARD_WHEEL_TICK } from "../../../src/engine/memory/layout.ts";
import { MemoryEngine } from "../../../src/engine/memory/memory-engine.ts";
import { NEVER } from "../../../src/model/entry.ts";
import { checkInvariants } from "../../support/engine-invariants.ts";
import { keyOf, ManualClock, pruneAll, RecordingSink, smallEngine, stampOf } from "../../support/engine-io.ts";
import { SmallShard } from "../../support/small-shard.ts";
import { TracedMemory } from "../../support/traced-memory.ts";

const MINUTE_MS = 60_000;
const YEAR_MS = 365 * 24 * 60 * MINUTE_MS;
/** Far fewer than there are ticks of 128 ms in a month. */
const MOST_LOADS = 100_000;

function put(engine: MemoryEngine, name: string, expiresAtMs: number): void {
  const source = Buffer.from(name);
  const value = { source, start: 0, end: source.length, attributes: { contentType: "application/json" } };
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

describe("the wheel of one shard", () => {
  const EPOCH_MS = 1_000;
  const MANY = 1_000_000;
  let parts: SmallShard;
  let wheel: ExpiryWheel;

  function makeWheel(): void {
    parts = new SmallShard({ segments: 256 });
    wheel = new ExpiryWheel(parts.arena, EPOCH_MS);
  }
  beforeEach(makeWheel);

  /** Files a record that ends in a tick; gives its location. */
  function file(tick: number): number {
    const location = parts.append(SHARD_SMALL, Buffer.alloc(8), EPOCH_MS + tick * TICK_MS);
    wheel.add(parts.shard, location);
    return location;
  }

  /** Takes out all that is due, in the order in which it comes. */
  function dueUntil(tick: number, steps = MANY): number[] {
    const due: number[] = [];
    for (;;) {
      const location = wheel.nextDue(parts.shard, EPOCH_MS + tick * TICK_MS, steps);
      if (location === 0) return due;
      if (location < 0) continue;
      wheel.remove(parts.shard, location);
      due.push(location);
    }
  }

  test.each([
    [0, 0],
    [EPOCH_MS, 0],
    [EPOCH_MS + TICK_MS - 1, 0],
    [EPOCH_MS + TICK_MS, 1],
    [EPOCH_MS + 2 ** 31 * TICK_MS, 2 ** 31 - 1],
    [Number.MAX_SAFE_INTEGER, 2 ** 31 - 1],
  ])("has %d ms in tick %d", (timeMs, tick) => {
    expect(wheel.tickOf(timeMs)).toBe(tick);
  });

  test.each([1, 63, 64, 65, 4095, 4096, 4097, 262_143, 262_144, 16_777_215, 16_777_216, 40_000_000])(
    "gives what ends in tick %d when that tick has passed, and not before",
    (tick) => {
      const location = file(tick);
      expect(dueUntil(tick)).toEqual([]);
      expect(dueUntil(tick + 1)).toEqual([location]);
      expect(parts.control(SHARD_WHEEL_COUNT)).toBe(0);
    },
  );

  test("gives what had ended already when it was filed", () => {
    dueUntil(1000);
    const location = file(5);
    expect(dueUntil(1001)).toEqual([location]);
  });

  test("moves on to the present where nothing is filed, and never back", () => {
    dueUntil(5000);
    expect(parts.control(SHARD_WHEEL_TICK)).toBe(5000);
    dueUntil(10);
    expect(parts.control(SHARD_WHEEL_TICK)).toBe(5000);
    expect(wheel.lagMs(parts.shard, EPOCH_MS + 5003 * TICK_MS)).toBe(3 * TICK_MS);
  });

  test("stops when it has refiled as many as it may, and goes on from there", () => {
    const locations = [100, 101, 102].map(file);
    const now = EPOCH_MS + 110 * TICK_MS;
    expect(wheel.nextDue(parts.shard, now, 2)).toBe(-1);
    expect(dueUntil(110, 1).toSorted()).toEqual(locations.toSorted());
  });

  test("takes out the first, the last and one in the midst of a bucket", () => {
    for (const gone of [0, 1, 2]) {
      makeWheel();
      const locations = [7, 7, 7].map(file);
      wheel.remove(parts.shard, locations[gone] ?? 0);
      const left = locations.filter((_, at) => at !== gone);
      expect(dueUntil(8).toSorted()).toEqual(left.toSorted());
    }
  });

  test.each([null, 0, 1])("finds a record where it was moved to, wherever it stood; neighbour %p is gone", (gone) => {
    for (const moved of [0, 1, 2]) {
      makeWheel();
      const locations = [7, 7, 7].map(file);
      parts.reserve(1);
      const copy = parts.log.copy(parts.shard, locations[moved] ?? 0, SHARD_SMALL);
      wheel.moved(parts.shard, copy);
      // The others are taken out first, each beside the one that moved.
      const others = locations.filter((_, at) => at !== moved);
      if (gone !== null) wheel.remove(parts.shard, others[gone] ?? 0);
      const expected = [copy, ...others.filter((_, at) => at !== gone)];
      expect(dueUntil(8).toSorted()).toEqual(expected.toSorted());
    }
  });

  test("forgets everything when it is cleared", () => {
    for (const tick of [1, 100, 10_000, 1_000_000]) file(tick);
    wheel.clear(parts.shard);
    expect([parts.control(SHARD_WHEEL_COUNT), dueUntil(2_000_000)]).toEqual([0, []]);
  });

  test("gives everything once, in the first look after its tick, whatever the times of looks and records", () => {
    const ticks = fc.oneof(fc.nat(200), fc.nat(10_000), fc.nat(20_000_000));
    const call = fc.record({ ahead: ticks, isLook: fc.boolean(), isGone: fc.boolean() });
    fc.assert(
      fc.property(fc.array(call, { maxLength: 40, size: "max" }), (calls) => {
        makeWheel();
        let now = 0;
        const filed = new Map<number, number>();
        for (const { ahead, isLook, isGone } of calls) {
          const first = filed.keys().next().value;
          if (!isLook) filed.set(file(now + ahead), now + ahead);
          else if (isGone && first !== undefined) {
            wheel.remove(parts.shard, first);
            filed.delete(first);
          } else {
            now += ahead;
            const due = [...filed].filter(([, tick]) => tick < now).map(([location]) => location);
            expect(dueUntil(now, 3).toSorted()).toEqual(due.toSorted());
            for (const location of due) filed.delete(location);
          }
        }
        expect(parts.control(SHARD_WHEEL_COUNT)).toBe(filed.size);
      }),
    );
  });
});
