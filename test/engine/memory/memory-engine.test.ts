import { describe, expect, test } from "bun:test";
import { InvalidCursorError } from "../../../src/engine/engine.ts";
import { MemoryEngine } from "../../../src/engine/memory/memory-engine.ts";
import { bytesForEntries, MemoryLimitError } from "../../../src/engine/memory/sizing.ts";
import { NEVER } from "../../../src/model/entry.ts";
import type { KeyPattern } from "../../../src/model/matcher.ts";
import { keyOf, ManualClock, pruneAll, RecordingSink, smallEngine, stampOf } from "../../support/engine-io.ts";

const MIB = 1024 * 1024;

/** Puts with versions that grow, and gets, on one engine. */
class Client {
  private version = 1;
  readonly sink = new RecordingSink();

  constructor(readonly engine: MemoryEngine) {}

  put(text: string, value: Buffer, expiresAtMs = NEVER): string {
    return this.engine.put({
      key: keyOf(text),
      source: value,
      start: 0,
      end: value.length,
      attributes: { contentType: "application/octet-stream" },
      expiresAtMs,
      stamp: stampOf(++this.version),
      condition: null,
    });
  }

  get(text: string): Buffer | null {
    return this.engine.get(keyOf(text), this.sink) ? this.sink.target : null;
  }

  nextStamp() {
    return stampOf(++this.version);
  }

  keys(pattern: KeyPattern | null = null, limit = 10): string[] {
    const found: string[] = [];
    let cursor: string | null = null;
    do {
      const page = this.engine.scan({ pattern, cursor, limit });
      found.push(...page.keys);
      cursor = page.cursor;
    } while (cursor !== null);
    return found;
  }
}

function endsWith(digit: string): KeyPattern {
  return { text: `*${digit}`, matches: (bytes, _start, end) => bytes[end - 1] === digit.charCodeAt(0) };
}

describe("values", () => {
  test("of every size from 0 bytes to 16 MiB come back as they were put", () => {
    const client = new Client(smallEngine(128 * MIB));
    const sizes = [0, 1, 7, 8, 9, 500, 16_000, 16_375, 16_376, 16_384, 32_752, 100_001, MIB, 16 * MIB - 1, 16 * MIB];
    for (const size of sizes) {
      const value = Buffer.alloc(size, `${size};`);
      expect(client.put(`size:${size}`, value)).toBe("stored");
    }
    for (const size of sizes) expect(client.get(`size:${size}`)?.equals(Buffer.alloc(size, `${size};`))).toBe(true);
  });

  test("that could never fit are refused, and change nothing", () => {
    const client = new Client(smallEngine(8 * MIB));
    client.put("key", Buffer.from("before"));
    expect(client.put("key", Buffer.alloc(6 * MIB))).toBe("too-large");
    expect(client.get("key")?.toString()).toBe("before");
  });

  test("of 16 MiB push older ones out, and their memory comes back when they are replaced", () => {
    const client = new Client(smallEngine(64 * MIB));
    for (let round = 0; round < 40; round++) {
      expect(client.put(`big:${round % 5}`, Buffer.alloc(16 * MIB, round))).toBe("stored");
      expect(client.engine.stats().usedBytes).toBeLessThanOrEqual(64 * MIB);
    }
    expect(client.get("big:4")?.[123]).toBe(39);
    for (let round = 0; round < 5; round++) client.put(`big:${round}`, Buffer.from("small"));
    expect(client.engine.stats().usedBytes).toBeLessThan(MIB);
  }, 300_000);
});

describe("memory", () => {
  test("stays under the limit in a storm of values from 1 byte to 1 MiB, on 64 shards", () => {
    const client = new Client(smallEngine(128 * MIB));
    let random = 1;
    for (let round = 0; round < 3_000; round++) {
      random = (Math.imul(random, 1_664_525) + 1_013_904_223) >>> 0;
      const size = Math.floor(2 ** ((random / 2 ** 32) * 20));
      expect(client.put(`key:${random % 5_000}`, Buffer.alloc(size, 1))).toBe("stored");
      expect(client.engine.stats().usedBytes).toBeLessThanOrEqual(128 * MIB);
    }
    expect(client.engine.stats().evictions).toBeGreaterThan(0);
  });

  test("is enough for as many entries as the sizing says, and not for many more", () => {
    for (const count of [200, 5_000, 60_000]) {
      const client = new Client(smallEngine(bytesForEntries(count, 16, 100)));
      for (let number = 0; number < count * 2; number++) {
        client.put(String(number).padStart(16, "k"), Buffer.alloc(100));
      }
      const { entries } = client.engine.stats();
      expect(entries).toBeGreaterThan(count * 0.9);
      expect(entries).toBeLessThan(count * 1.1);
    }
  });

  test("too small for anything, or too large to address, is refused", () => {
    expect(() => smallEngine(1_000)).toThrow(MemoryLimitError);
    expect(() => smallEngine(29 * 1024 * MIB)).toThrow(MemoryLimitError);
  });

  test("that overwrites left behind is used again before anything is evicted", () => {
    const client = new Client(smallEngine(4 * MIB));
    for (let round = 0; round < 40; round++) {
      for (let number = 0; number < 1_000; number++) client.put(`key:${number}`, Buffer.alloc(1_500, round));
    }
    expect(client.engine.stats().evictions).toBe(0);
    expect(client.engine.stats().entries).toBe(1_000);
  });

  test("that is made free says whose it was: of what was never read again, or of what no longer was", () => {
    const client = new Client(smallEngine(4 * MIB));
    for (let number = 0; number < 10_000; number++) client.put(`once:${number}`, Buffer.alloc(1_000));
    const { evictions, evictionsByReason } = client.engine.stats();
    expect(evictions).toBeGreaterThan(5_000);
    expect(evictionsByReason).toEqual({ unused: evictions, cold: 0 });
    for (let number = 0; number < 10_000; number++) {
      client.put(`read:${number}`, Buffer.alloc(1_000));
      for (let read = 0; read < 3; read++) client.get(`read:${number}`);
    }
    const after = client.engine.stats();
    expect(after.evictionsByReason.cold).toBeGreaterThan(1_000);
    expect(after.evictionsByReason.unused).toBe(after.evictions - (after.evictionsByReason.cold ?? 0));
  });

  test("of small entries is used to the full after large ones filled it", () => {
    const client = new Client(smallEngine(16 * MIB));
    for (let number = 0; number < 400; number++) client.put(`large:${number}`, Buffer.alloc(100_000));
    for (let number = 0; number < 150_000; number++) client.put(`small:${number}`, Buffer.alloc(50));
    expect(client.engine.stats().entries).toBeGreaterThan(120_000);
  });
});

describe("expiry", () => {
  test("hides an entry at its millisecond, and frees it within a tick and a round of pruning", () => {
    const clock = new ManualClock();
    const client = new Client(smallEngine(4 * MIB, clock));
    client.put("key", Buffer.from("value"), clock.nowMs + 500);
    clock.nowMs += 499;
    expect(client.get("key")?.toString()).toBe("value");
    clock.nowMs += 1;
    expect(client.get("key")).toBeNull();
    expect(client.engine.stats().entries).toBe(1);
    clock.nowMs += 128;
    pruneAll(client.engine);
    expect(client.engine.stats().entries).toBe(0);
    expect(client.engine.stats().expirations).toBe(1);
  });

  test("frees entries of every age, from milliseconds to years, in their time and not before", () => {
    const clock = new ManualClock();
    const client = new Client(smallEngine(4 * MIB, clock));
    const agesMs = [1, 130, 8_000, 8_300, 500_000, 600_000, 3_600_000, 86_400_000, 2_500_000_000, 40_000_000_000];
    for (const ageMs of agesMs) client.put(`age:${ageMs}`, Buffer.from("value"), clock.nowMs + ageMs);
    const startMs = clock.nowMs;
    for (const [index, ageMs] of agesMs.entries()) {
      clock.nowMs = startMs + ageMs - 1;
      pruneAll(client.engine);
      expect(client.engine.stats().entries).toBe(agesMs.length - index);
      clock.nowMs = startMs + ageMs + 128;
      pruneAll(client.engine);
      expect(client.engine.stats().entries).toBe(agesMs.length - index - 1);
    }
  }, 300_000);

  test("of 100,000 entries at once gives all their memory back, a bounded number of them a call", () => {
    const clock = new ManualClock();
    const client = new Client(smallEngine(64 * MIB, clock));
    const emptyBytes = client.engine.stats().usedBytes ?? 0;
    for (let number = 0; number < 100_000; number++)
      client.put(`key:${number}`, Buffer.alloc(100), clock.nowMs + 60_000);
    clock.nowMs += 60_200;
    let calls = 1;
    while (client.engine.maintain() === 0) calls++;
    expect(calls).toBeGreaterThan(20);
    expect(client.engine.stats().entries).toBe(0);
    expect(client.engine.stats().usedBytes).toBeLessThan(emptyBytes + 3 * MIB);
  });

  test("goes in short turns, in longer ones where it is late by more than a second", () => {
    const clock = new ManualClock();
    const client = new Client(smallEngine(64 * MIB, clock));
    for (let number = 0; number < 20_000; number++) client.put(`key:${number}`, Buffer.alloc(10), clock.nowMs + 5_000);
    const removedByOneTurn = () => {
      const before = client.engine.stats().entries ?? 0;
      expect(client.engine.maintain()).toBe(0);
      return before - (client.engine.stats().entries ?? 0);
    };
    clock.nowMs += 4_900;
    pruneAll(client.engine);
    clock.nowMs += 300;
    expect(removedByOneTurn()).toBeWithin(32, 64);
    clock.nowMs += 2_000;
    expect(removedByOneTurn()).toBeWithin(128, 160);
    pruneAll(client.engine);
    expect(client.engine.stats().entries).toBe(0);
  });
});

describe("walks", () => {
  test("by pattern remove what matches and is older, and let others run in between", async () => {
    let turns = 0;
    const clock = new ManualClock();
    const engine = MemoryEngine.create({
      limitBytes: 32 * MIB,
      threads: 1,
      clock: clock.read,
      randomWord: () => 1,
      letOthersRun: async () => {
        turns++;
        // Written after the call came: it stays.
        if (turns === 2) client.put("late:7", Buffer.from("late"));
      },
    });
    const client = new Client(engine);
    for (let number = 0; number < 30_000; number++) client.put(`key:${number}`, Buffer.alloc(10));
    expect(await engine.deleteMatching(endsWith("7"), client.nextStamp())).toBe(3_000);
    expect(turns).toBeGreaterThan(5);
    expect(client.get("late:7")?.toString()).toBe("late");
    expect(engine.stats().entries).toBe(27_001);
    expect(client.keys(endsWith("7"))).toEqual(["late:7"]);
  });

  test("by pattern remove also what was only touched or counted up since the call came", async () => {
    const engine = MemoryEngine.create({
      limitBytes: 32 * MIB,
      threads: 1,
      clock: Date.now,
      letOthersRun: async () => {
        for (let number = 0; number < 20_000; number += 7) {
          const key = keyOf(`key:${number}`);
          const stamp = client.nextStamp();
          engine.touch({ key, expiresAtMs: NEVER, seen: null, condition: null });
          engine.increment({ key, delta: 1, expiresAtMsIfNew: NEVER, stamp, condition: { kind: "present" } });
          engine.touch({ key, expiresAtMs: Date.now() + 900_000, seen: null, condition: null });
        }
      },
    });
    const client = new Client(engine);
    for (let number = 0; number < 20_000; number++) client.put(`key:${number}`, Buffer.from("1"));
    await engine.deleteMatching({ text: "*", matches: () => true }, client.nextStamp());
    expect(client.keys()).toEqual([]);
  });

  test("return every key that is there throughout, while others come, go and make the index grow", () => {
    const client = new Client(smallEngine(32 * MIB));
    for (let number = 0; number < 2_000; number++) client.put(`stays:${number}`, Buffer.alloc(10));
    const found: string[] = [];
    let cursor: string | null = null;
    let round = 0;
    do {
      const page = client.engine.scan({ pattern: null, cursor, limit: 50 });
      found.push(...page.keys.filter((text) => text.startsWith("stays:")));
      cursor = page.cursor;
      round++;
      for (let number = 0; number < 30; number++) client.put(`comes:${round}:${number}`, Buffer.alloc(10));
      for (let number = 0; number < 20; number++) {
        client.engine.delete({
          key: keyOf(`comes:${round - 1}:${number}`),
          stamp: client.nextStamp(),
          condition: null,
          tombstoneUntilMs: NEVER,
        });
      }
    } while (cursor !== null && round < 1_000);
    expect(cursor).toBeNull();
    expect(found.sort()).toEqual(Array.from({ length: 2_000 }, (_, number) => `stays:${number}`).sort());
  });

  test("refuse a cursor that no scan gave", () => {
    const { engine } = new Client(smallEngine(4 * MIB));
    for (const cursor of [
      "",
      "!",
      "-1",
      "1.5",
      "null",
      "abc",
      "p.",
      "p.-1",
      "p.01",
      "p.zzzzzzzzzzzz",
      "p.0x10",
      " p.1",
    ]) {
      expect(() => engine.scan({ pattern: null, cursor, limit: 10 })).toThrow(InvalidCursorError);
    }
  });
});

describe("clear", () => {
  test("removes everything, counts it, and gives the memory back", async () => {
    const client = new Client(smallEngine(64 * MIB));
    for (let number = 0; number < 50_000; number++) client.put(`key:${number}`, Buffer.alloc(200));
    client.put("blob", Buffer.alloc(5 * MIB));
    expect(await client.engine.clear(client.nextStamp())).toBe(50_001);
    expect(client.engine.stats().entries).toBe(0);
    expect(client.engine.stats().usedBytes).toBeLessThan(MIB);
    expect(client.keys()).toEqual([]);
    client.put("blob", Buffer.alloc((50 * MIB) / 10, 7));
    expect(client.get("blob")?.[4_000_000]).toBe(7);
  });

  test("keeps what is newer than itself, and refuses what is older from then on", async () => {
    const client = new Client(smallEngine(4 * MIB));
    const clearStamp = client.nextStamp();
    client.put("newer", Buffer.from("value"));
    await client.engine.clear(clearStamp);
    expect(client.get("newer")?.toString()).toBe("value");
    const late = {
      key: keyOf("late"),
      source: Buffer.from("1"),
      start: 0,
      end: 1,
      attributes: { contentType: "application/json" },
    };
    expect(client.engine.put({ ...late, expiresAtMs: NEVER, stamp: clearStamp, condition: null })).toBe("superseded");
  });
});

/** An engine of which every turn is seen: how much one removed is what was there at its start less what is there at its end. */
function watchedEngine(limitBytes: number, duringTurn: (turn: number) => void = () => {}) {
  const removed: number[] = [];
  let before = 0;
  const engine: MemoryEngine = MemoryEngine.create({
    limitBytes,
    threads: 1,
    clock: Date.now,
    randomWord: () => 0x5eed,
    letOthersRun: async () => {
      removed.push(before - engine.stats().entries);
      duringTurn(removed.length);
      before = engine.stats().entries;
    },
  });
  const begin = () => {
    before = engine.stats().entries;
  };
  return { engine, removed, begin };
}

/** Of a walk, in a turn: what it costs, and what it holds one lock for. */
const MOST_REMOVED_IN_A_TURN = 128 + 64;

describe("a delete by pattern", () => {
  test("goes in turns that each look at a bounded number of entries, and removes all of them", async () => {
    const { engine, removed, begin } = watchedEngine(32 * MIB);
    const client = new Client(engine);
    for (let number = 0; number < 20_000; number++) client.put(`key:${number}`, Buffer.alloc(10));
    begin();
    expect(await engine.deleteMatching({ text: "*", matches: () => true }, client.nextStamp())).toBe(20_000);
    expect(engine.stats().entries).toBe(0);
    expect(removed.length).toBeGreaterThan(20_000 / MOST_REMOVED_IN_A_TURN - 1);
    expect(Math.max(...removed)).toBeLessThanOrEqual(MOST_REMOVED_IN_A_TURN);
  });
});

describe("a clear that comes late", () => {
  const ENTRIES = 40_000;

  test("goes in short turns, keeps what is newer, and refuses what is older from its first turn on", async () => {
    const outcomes: string[] = [];
    const late = {
      key: keyOf("late"),
      source: Buffer.from("1"),
      start: 0,
      end: 1,
      attributes: { contentType: "application/json" },
    };
    const { engine, removed, begin } = watchedEngine(32 * MIB, () => {
      outcomes.push(engine.put({ ...late, expiresAtMs: NEVER, stamp: stamps.before, condition: null }));
    });
    const client = new Client(engine);
    const stamps = { before: client.nextStamp(), clear: client.nextStamp() };
    for (let number = 0; number < ENTRIES; number++) client.put(`old:${number}`, Buffer.alloc(10));
    stamps.clear = client.nextStamp();
    for (let number = 0; number < 500; number++) client.put(`new:${number}`, Buffer.alloc(10));
    begin();
    expect(await engine.clear(stamps.clear)).toBe(ENTRIES);
    expect(removed.length).toBeGreaterThan(ENTRIES / MOST_REMOVED_IN_A_TURN - 1);
    expect(Math.max(...removed)).toBeLessThanOrEqual(MOST_REMOVED_IN_A_TURN);
    expect(client.keys().length).toBe(500);
    expect(outcomes).toEqual(removed.map(() => "superseded"));
  });

  test("lets others run between the shards of a large memory that it forgets whole", async () => {
    const { engine, removed, begin } = watchedEngine(256 * MIB);
    const client = new Client(engine);
    for (let number = 0; number < 1_000; number++) client.put(`key:${number}`, Buffer.alloc(10));
    begin();
    expect(await engine.clear(client.nextStamp())).toBe(1_000);
    expect(removed.length).toBeGreaterThan(10);
  });
});

describe("a walk through a shard that is nearly empty", () => {
  test("finds every key, though it lets go of the lock between empty slots", async () => {
    const { engine } = watchedEngine(16 * MIB);
    const client = new Client(engine);
    const names = Array.from({ length: 250_000 }, (_, number) => `key:${number}`);
    for (const name of names) client.put(name, Buffer.alloc(1));
    const left: string[] = [];
    for (const [number, name] of names.entries()) {
      if (number % 5_000 === 0 && client.get(name) !== null) left.push(name);
      else
        client.engine.delete({ key: keyOf(name), stamp: client.nextStamp(), condition: null, tombstoneUntilMs: NEVER });
    }
    expect(left.length).toBeGreaterThan(10);
    expect(client.keys().sort()).toEqual(left.toSorted());
    expect(await engine.deleteMatching({ text: "*", matches: () => true }, client.nextStamp())).toBe(left.length);
  });
});

describe("stamps of the same version", () => {
  const entry = {
    source: Buffer.from("1"),
    start: 0,
    end: 1,
    attributes: { contentType: "application/json" },
    expiresAtMs: NEVER,
  };
  const put = (engine: MemoryEngine, text: string, nodeId: number) =>
    engine.put({ ...entry, key: keyOf(text), stamp: stampOf(10, nodeId), condition: null });

  test("are ordered by their origins: a put against a put, whichever comes first", () => {
    const engine = smallEngine(4 * MIB);
    expect([
      put(engine, "key", 5),
      put(engine, "key", 4),
      put(engine, "key", 5),
      put(engine, "key", 0xffff_ffff),
    ]).toEqual(["stored", "superseded", "superseded", "stored"]);
  });

  test("are ordered by their origins: a clear against a put, whichever comes first", async () => {
    const clearFirst = smallEngine(4 * MIB);
    await clearFirst.clear(stampOf(10, 5));
    const putFirst = smallEngine(4 * MIB);
    for (const engine of [clearFirst, putFirst]) {
      for (const nodeId of [4, 5, 6, 0xffff_ffff]) put(engine, `of:${nodeId}`, nodeId);
    }
    expect(await putFirst.clear(stampOf(10, 5))).toBe(2);
    for (const engine of [clearFirst, putFirst]) {
      expect(new Client(engine).keys().sort()).toEqual(["of:4294967295", "of:6"]);
    }
  });

  test("are ordered by their origins where a tombstone had to make room", () => {
    const clock = new ManualClock();
    const engine = smallEngine(64 * 1024, clock);
    const tombstoneUntilMs = clock.nowMs + 1_000_000;
    const keys = Array.from({ length: 3_000 }, (_, number) => keyOf(`gone:${number}`));
    for (const key of keys) engine.delete({ key, stamp: stampOf(10, 5), condition: null, tombstoneUntilMs });
    for (const key of keys) {
      expect(engine.put({ ...entry, key, stamp: stampOf(10, 5), condition: null })).toBe("superseded");
    }
    expect(put(engine, "gone:0", 6)).toBe("stored");
  });
});

describe("tombstones", () => {
  test("refuse older puts until they end, are no entries, and count as absent", () => {
    const clock = new ManualClock();
    const client = new Client(smallEngine(4 * MIB, clock));
    const older = client.nextStamp();
    client.put("key", Buffer.from("1"));
    const stamp = client.nextStamp();
    const tombstoneUntilMs = clock.nowMs + 10_000;
    expect(client.engine.delete({ key: keyOf("key"), stamp, condition: null, tombstoneUntilMs })).toBe("deleted");
    expect(client.engine.stats().entries).toBe(0);
    expect(client.keys()).toEqual([]);
    const late = {
      key: keyOf("key"),
      source: Buffer.from("1"),
      start: 0,
      end: 1,
      attributes: { contentType: "application/json" },
    };
    const put = () => client.engine.put({ ...late, expiresAtMs: NEVER, stamp: older, condition: null });
    expect(put()).toBe("superseded");
    clock.nowMs += 10_200;
    pruneAll(client.engine);
    expect(put()).toBe("stored");
  });

  test("that had to make room leave a floor behind: nothing older comes back into their shard", () => {
    const clock = new ManualClock();
    const client = new Client(smallEngine(64 * 1024, clock));
    const older = client.nextStamp();
    const tombstoneUntilMs = clock.nowMs + 1_000_000;
    for (let number = 0; number < 3_000; number++) {
      client.engine.delete({
        key: keyOf(`gone:${number}`),
        stamp: client.nextStamp(),
        condition: null,
        tombstoneUntilMs,
      });
    }
    const late = {
      source: Buffer.from("1"),
      start: 0,
      end: 1,
      attributes: { contentType: "application/json" },
      expiresAtMs: NEVER,
    };
    for (let number = 0; number < 3_000; number++) {
      expect(client.engine.put({ ...late, key: keyOf(`gone:${number}`), stamp: older, condition: null })).toBe(
        "superseded",
      );
    }
  });
});
