import { afterEach, describe, expect, spyOn, test } from "bun:test";
import { IndexTable } from "../../../src/engine/memory/index-table.ts";
import { MemoryEngine } from "../../../src/engine/memory/memory-engine.ts";
import { EngineBrokenError, Locks } from "../../../src/engine/memory/mutex.ts";
import { RecordLog } from "../../../src/engine/memory/record-log.ts";
import { JSON_ATTRIBUTES, NEVER } from "../../../src/model/entry.ts";
import { keyOf, RecordingSink, stampOf } from "../../support/engine-io.ts";

const never = (error: EngineBrokenError): void => {
  throw new Error("nothing broke", { cause: error });
};

describe("a lock", () => {
  test("knows its owner, and is free when that gives it back", () => {
    const words = new Int32Array(new SharedArrayBuffer(8));
    const locks = new Locks(words, 4, never);
    locks.lock(1);
    expect([...words]).toEqual([0, 5]);
    locks.unlock(1);
    expect([...words]).toEqual([0, 0]);
  });

  test("is passed on to a thread that sleeps for it", () => {
    const words = new Int32Array(new SharedArrayBuffer(8));
    const owner = new Locks(words, 0, never);
    owner.lock(1);
    const wait = spyOn(Atomics, "wait").mockImplementation(() => {
      owner.unlock(1);
      return "ok";
    });
    const notify = spyOn(Atomics, "notify");
    try {
      new Locks(words, 8, never).lock(1);
      expect(notify.mock.calls.map(([, at, count]) => [at, count])).toEqual([[1, 1]]);
    } finally {
      wait.mockRestore();
      notify.mockRestore();
    }
    expect(words[1] ?? 0).toBe(9 | (1 << 16));
  });

  test("of a thread that has died isn't waited for without end", () => {
    const words = new Int32Array(new SharedArrayBuffer(4));
    new Locks(words, 7, never).lock(0);
    const told: EngineBrokenError[] = [];
    const other = new Locks(words, 1, (error) => told.push(error), 3);
    expect(() => other.lock(0)).toThrow(new EngineBrokenError("thread 7 has died with a lock"));
    expect(told).toHaveLength(1);
  });
});

describe.each([
  ["the index", IndexTable.prototype, "insert"],
  ["the log", RecordLog.prototype, "writeValue"],
] as const)("a change that fails half way in %s", (_, prototype, method) => {
  afterEach(() => {
    spyOn(prototype as IndexTable, method as "insert").mockRestore();
  });

  test("is seen by nobody: who made it, reads or writes there is told that the memory is broken", () => {
    const told: string[] = [];
    const thread = (name: string) => ({ clock: Date.now, onBroken: () => told.push(name) });
    const first = MemoryEngine.create({ ...thread("first"), limitBytes: 200_000, threads: 2 });
    const second = MemoryEngine.attach(first.handle, 1, thread("second"));
    const source = Buffer.from("1");
    const value = { source, start: 0, end: 1, attributes: JSON_ATTRIBUTES, expiresAtMs: NEVER, condition: null };
    const failing = spyOn(prototype as IndexTable, method as "insert").mockImplementation(() => {
      throw new RangeError("Maximum call stack size exceeded.");
    });
    expect(() => first.put({ ...value, key: keyOf("a"), stamp: stampOf(1) })).toThrow(
      "a change of the memory failed half way (RangeError: Maximum call stack size exceeded.)",
    );
    failing.mockRestore();
    expect(told).toEqual(["first"]);
    expect(() => second.put({ ...value, key: keyOf("b"), stamp: stampOf(2) })).toThrow(EngineBrokenError);
    expect(told).toEqual(["first", "second"]);
    // What can be read without the lock is whole. The rest is nobody's any more.
    const isMidChange = method === "insert";
    const get = () => second.get(keyOf("a"), new RecordingSink());
    if (isMidChange) expect(get).toThrow(EngineBrokenError);
    else expect(get()).toBe(false);
  });
});
