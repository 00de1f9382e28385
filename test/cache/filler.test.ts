import { beforeEach, describe, expect, test } from "bun:test";
import { Filler } from "../../src/cache/filler.ts";
import { RecentInvalidations } from "../../src/cache/recent-invalidations.ts";
import type { MemoryEngine } from "../../src/engine/memory/memory-engine.ts";
import { JSON_ATTRIBUTES, JSON_CONTENT_TYPE } from "../../src/model/entry.ts";
import { keyOf, ManualClock, RecordingSink, smallEngine, stampOf } from "../support/engine-io.ts";
import { LateEngine } from "../support/late-engine.ts";
import { OvertakingEngine } from "../support/overtaking-engine.ts";

const VALUE = { bytes: Buffer.from("[1]"), contentType: JSON_CONTENT_TYPE };

let clock: ManualClock;
let engine: MemoryEngine;
let invalidations: RecentInvalidations;
let failures: unknown[];

beforeEach(() => {
  clock = new ManualClock();
  engine = smallEngine(4 * 1024 * 1024, clock);
  invalidations = RecentInvalidations.create();
  failures = [];
});

function fillerOf(below: MemoryEngine | OvertakingEngine | LateEngine): Filler {
  return new Filler({ engine: below, invalidations, onFailure: (error) => failures.push(error) });
}

function stored(key: string): RecordingSink | null {
  const sink = new RecordingSink();
  return engine.get(keyOf(key), sink) ? sink : null;
}

function put(key: string, version: number): void {
  const source = Buffer.from('"newer"');
  const value = { source, start: 0, end: source.length, attributes: JSON_ATTRIBUTES };
  engine.put({ ...value, key: keyOf(key), expiresAtMs: 0, stamp: stampOf(version), condition: null });
}

describe("a filler", () => {
  test("puts what was loaded, with its expiry and the stamp of its load", async () => {
    await fillerOf(engine).fill("a", VALUE, clock.nowMs + 1_000, stampOf(10, 3));
    expect(stored("a")).toMatchObject({
      target: VALUE.bytes,
      contentType: JSON_CONTENT_TYPE,
      expiresAtMs: clock.nowMs + 1_000,
      revision: 10,
      nodeId: 3,
    });
  });

  test("does not replace what is newer than the load", async () => {
    put("a", 11);
    await fillerOf(engine).fill("a", VALUE, 0, stampOf(10));
    expect(stored("a")?.target.toString()).toBe('"newer"');
  });

  test("does not put back what was deleted since the load began", async () => {
    const key = keyOf("a");
    engine.delete({ key, stamp: stampOf(11), condition: null, tombstoneUntilMs: clock.nowMs + 1_000 });
    await fillerOf(engine).fill("a", VALUE, 0, stampOf(10));
    expect(stored("a")).toBeNull();
  });

  test("does not put what a pattern delete since the load began covers", async () => {
    invalidations.add("a*", stampOf(11));
    await fillerOf(engine).fill("a", VALUE, 0, stampOf(10));
    expect(stored("a")).toBeNull();
    await fillerOf(engine).fill("a", VALUE, 0, stampOf(12));
    expect(stored("a")?.revision).toBe(12);
  });

  test("takes back what a pattern delete covers that came in between", async () => {
    const overtaking = new OvertakingEngine(engine);
    overtaking.next = () => invalidations.add("a*", stampOf(11));
    await fillerOf(overtaking).fill("a", VALUE, 0, stampOf(10));
    expect(stored("a")).toBeNull();
  });

  test("removes what is there no more, and keeps older ones out, but nothing that is newer", async () => {
    put("older", 9);
    put("newer", 11);
    for (const key of ["older", "newer", "nobody"])
      await fillerOf(engine).absent(key, stampOf(10), clock.nowMs + 1_000);
    put("nobody", 9);
    expect(stored("older")).toBeNull();
    expect(stored("nobody")).toBeNull();
    expect(stored("newer")?.revision).toBe(11);
    expect(failures).toEqual([]);
  });

  test("tells of an engine that fails, and does not fail itself", async () => {
    const late = new LateEngine(engine);
    late.failure = new Error("the engine is away");
    await fillerOf(late).fill("a", VALUE, 0, stampOf(10));
    await fillerOf(late).absent("a", stampOf(11), 0);
    expect(failures).toEqual([late.failure, late.failure]);
  });
});
