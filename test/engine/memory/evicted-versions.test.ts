import { describe, expect, test } from "bun:test";
import { MemoryEngine } from "../../../src/engine/memory/memory-engine.ts";
import { JSON_ATTRIBUTES, NEVER } from "../../../src/model/entry.ts";
import { FILL_NODE_ID, type Version } from "../../../src/model/stamp.ts";
import { CollectingSink, keyOf } from "../../support/collecting-sink.ts";
import { globPattern } from "../../support/glob-pattern.ts";

const MIB = 1024 ** 2;

function house(limitBytes = 4 * MIB) {
  const clock = { nowMs: 1_800_000_000_000 };
  const engine = MemoryEngine.create({ limitBytes, threads: 1, clock: () => clock.nowMs, versioned: true });
  const put = (key: string, version: number, expiresAtMs = NEVER, value = "1", nodeId = 7) => {
    const source = Buffer.from(value);
    const stamp = { version: version as Version, nodeId };
    const range = { source, start: 0, end: source.length };
    return engine.put({
      key: keyOf(key),
      ...range,
      attributes: JSON_ATTRIBUTES,
      expiresAtMs,
      stamp,
      condition: null,
    });
  };
  const has = (key: string) => engine.peek(keyOf(key), new CollectingSink());
  return { clock, engine, put, has };
}

describe("a memory engine that keeps versions", () => {
  test("refuses what is older than an entry that was evicted", () => {
    const { put, has } = house();
    let version = 1000;
    const keys = Array.from({ length: 400 }, (_, at) => `key:${at}`);
    for (const key of keys) put(key, version++, NEVER, `"${"x".repeat(20_000)}"`);
    const evicted = keys.filter((key) => !has(key));
    expect(evicted.length).toBeGreaterThan(50);
    for (const key of evicted) expect([key, put(key, 999)]).toEqual([key, "superseded"]);
    for (const key of evicted) expect([key, put(key, version++)]).toEqual([key, "stored"]);
  });

  test("refuses what is older than an entry that expired and was pruned", () => {
    const { clock, engine, put, has } = house();
    put("a", 10, clock.nowMs + 1000);
    clock.nowMs += 5000;
    while (engine.maintain() === 0);
    expect(engine.stampOf(keyOf("a"))).toBeNull();
    expect(put("a", 9)).toBe("superseded");
    expect(put("a", 11)).toBe("stored");
    expect(has("a")).toBe(true);
  });

  test("refuses what is older than a delete whose tombstone is over, or that left none", () => {
    const { clock, engine, put } = house();
    const remove = (key: string, version: number, tombstoneUntilMs: number) =>
      engine.delete({
        key: keyOf(key),
        stamp: { version: version as Version, nodeId: 7 },
        condition: null,
        tombstoneUntilMs,
      });
    remove("a", 10, clock.nowMs + 1000);
    expect(engine.stampOf(keyOf("a"))).toEqual({ version: 10 as Version, nodeId: 7 });
    remove("b", 10, NEVER);
    clock.nowMs += 5000;
    while (engine.maintain() === 0);
    expect([put("a", 9), put("b", 9)]).toEqual(["superseded", "superseded"]);
    expect([put("a", 11), put("b", 11)]).toEqual(["stored", "stored"]);
  });

  test("refuses what is older than a counter that an older delete by pattern removed", async () => {
    const { engine, put } = house();
    put("a", 10, NEVER, "1");
    engine.increment({
      ...{ key: keyOf("a"), delta: 1, expiresAtMsIfNew: NEVER },
      ...{ stamp: { version: 30 as Version, nodeId: 7 }, condition: null },
    });
    expect(await engine.deleteMatching(globPattern("*"), { version: 20 as Version, nodeId: 7 })).toBe(1);
    expect(put("a", 25)).toBe("superseded");
  });

  test("stores late puts of keys that have nothing to do with what went", () => {
    const { clock, engine, put } = house(64 * MIB);
    put("gone", 1000, clock.nowMs + 1000);
    clock.nowMs += 5000;
    while (engine.maintain() === 0);
    const outcomes = Array.from({ length: 1000 }, (_, at) => put(`late:${at}`, 500));
    expect(outcomes.filter((outcome) => outcome === "stored").length).toBeGreaterThan(990);
  });

  test("lets a mutation take the place of what was read from a database later, unless something newer was there", () => {
    const { put, engine } = house();
    const fill = (key: string, version: number) => put(key, version, NEVER, "2", FILL_NODE_ID);
    expect([fill("a", 20), put("a", 10), put("a", 9), fill("a", 8)]).toEqual([
      "stored",
      "stored",
      "superseded",
      "superseded",
    ]);
    expect([put("b", 10), fill("b", 20), put("b", 9), put("b", 10), put("b", 11)]).toEqual([
      "stored",
      "stored",
      "superseded",
      "superseded",
      "stored",
    ]);
    const stamp = { version: 10 as Version, nodeId: FILL_NODE_ID };
    engine.delete({ key: keyOf("c"), stamp, condition: null, tombstoneUntilMs: 1_900_000_000_000 });
    expect([put("c", 9), fill("c", 20), put("c", 9), put("c", 11)]).toEqual([
      "superseded",
      "stored",
      "superseded",
      "stored",
    ]);
  });

  test("a delete that leaves no tombstone takes an older one along, and is remembered itself", () => {
    const { put, engine } = house();
    const remove = (version: number, tombstoneUntilMs: number) =>
      engine.delete({
        key: keyOf("a"),
        stamp: { version: version as Version, nodeId: 7 },
        condition: null,
        tombstoneUntilMs,
      });
    expect([put("a", 1), remove(5, 1_900_000_000_000), remove(10, NEVER)]).toEqual(["stored", "deleted", "absent"]);
    expect([put("a", 8), put("a", 11)]).toEqual(["superseded", "stored"]);
  });

  test("peeking counts neither hits nor misses", () => {
    const { engine, put, has } = house();
    put("a", 10);
    expect([has("a"), has("b")]).toEqual([true, false]);
    expect(engine.stats()).toMatchObject({ hits: 0, misses: 0 });
  });
});
