import { describe, expect, test } from "bun:test";
import { Arena } from "../../../src/engine/memory/arena.ts";
import { CHAIN_SEGMENTS, SHARD_DELETED } from "../../../src/engine/memory/layout.ts";
import { MemoryEngine } from "../../../src/engine/memory/memory-engine.ts";
import { bytesForEntries } from "../../../src/engine/memory/sizing.ts";
import { NEVER } from "../../../src/model/entry.ts";
import { CollectingSink } from "../../support/collecting-sink.ts";
import { checkInvariants } from "../../support/engine-invariants.ts";
import { keyOf, ManualClock, stampOf } from "../../support/engine-io.ts";

const ENTRIES = 60_000;
const READ = 10_000;
const DELETES = 1_000_000;
const TOMBSTONE_MS = 600_000;
/** Of a shard's segments. */
const SHARE = 0.1;

/** A node's memory as it is with peers, filled to its limit, `READ` of its entries read three times. */
function filled() {
  const clock = new ManualClock();
  const engine = MemoryEngine.create({
    limitBytes: bytesForEntries(ENTRIES, 16, 100),
    threads: 1,
    versioned: true,
    clock: clock.read,
    randomWord: () => 0x5eed,
  });
  const sink = new CollectingSink();
  let version = 1;
  const put = (name: string) => {
    const source = Buffer.alloc(100, name);
    const range = {
      source,
      start: 0,
      end: source.length,
      attributes: { contentType: "text/plain" },
      expiresAtMs: NEVER,
    };
    return engine.put({ ...range, key: keyOf(name), stamp: stampOf(++version, 7), condition: null });
  };
  const has = (name: string) => engine.peek(keyOf(name), sink);
  const remove = (name: string, tombstoneUntilMs = clock.nowMs + TOMBSTONE_MS) =>
    engine.delete({ key: keyOf(name), stamp: stampOf(++version, 7), condition: null, tombstoneUntilMs });
  const read = Array.from({ length: READ }, (_, number) => `read:${number}`.padEnd(16));
  for (const name of read) put(name);
  for (let times = 0; times < 3; times++) for (const name of read) engine.get(keyOf(name), sink);
  for (let number = 0; number < ENTRIES * 2; number++) put(`once:${number}`.padEnd(16));
  return { engine, clock, put, has, remove, read, lastVersion: () => version };
}

describe("tombstones in a full memory", () => {
  test("of a million deletes of absent keys push no entry out, and new ones stay as before", () => {
    const { engine, put, has, remove, read } = filled();
    const before = engine.stats();
    const held = read.filter((name) => has(name));
    expect(held.length).toBeGreaterThan(READ * 0.99);
    for (let number = 0; number < DELETES; number++) remove(`absent:${number}`);
    const after = engine.stats();
    expect(held.filter((name) => !has(name))).toEqual([]);
    expect([after.entries, after.evictions]).toEqual([before.entries, before.evictions]);
    const fresh = Array.from({ length: 1_000 }, (_, number) => `fresh:${number}`.padEnd(16));
    for (const name of fresh) expect(put(name)).toBe("stored");
    expect(fresh.filter((name) => has(name))).toEqual(fresh);
    checkInvariants(engine.handle);
  }, 300_000);

  test("take a tenth of it at most, however many entries are deleted", () => {
    const { engine, put, remove, read, has } = filled();
    for (let number = 0; number < 3 * ENTRIES; number++) {
      put(`doomed:${number}`.padEnd(16));
      remove(`doomed:${number}`.padEnd(16));
    }
    const arena = new Arena(engine.handle);
    const { segmentCount, shardCount } = arena.geometry;
    for (let number = 0; number < shardCount; number++) {
      const segments = arena.control[arena.shard(number) + SHARD_DELETED + CHAIN_SEGMENTS] ?? 0;
      expect(segments).toBeWithin(1, (SHARE * segmentCount) / shardCount);
    }
    expect(engine.stats().entries).toBeGreaterThan(ENTRIES * (1 - 2 * SHARE));
    expect(read.filter((name) => !has(name)).length).toBeLessThan(READ * SHARE);
    checkInvariants(engine.handle);
  }, 300_000);

  test("refuse what is older than their delete also when they had to give way", () => {
    const { engine, remove, lastVersion } = filled();
    const first = lastVersion();
    for (let number = 0; number < 100_000; number++) remove(`absent:${number}`);
    const source = Buffer.from("older");
    const late = {
      source,
      start: 0,
      end: source.length,
      attributes: { contentType: "text/plain" },
      expiresAtMs: NEVER,
    };
    for (let number = 0; number < 100_000; number++) {
      const key = keyOf(`absent:${number}`);
      expect(engine.put({ ...late, key, stamp: stampOf(first, 7), condition: null })).toBe("superseded");
    }
  }, 300_000);
});
