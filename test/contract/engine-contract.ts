import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import {
  type Condition,
  type Engine,
  InvalidCursorError,
  JSON_CONTENT_TYPE,
  MAX_KEY_BYTES,
  MAX_VALUE_BYTES,
  NEVER,
  type Stamp,
  type Version,
} from "../../src/engine/engine.ts";
import { CollectingSink, HeadSink, keyOf } from "../support/collecting-sink.ts";
import { globPattern } from "../support/glob-pattern.ts";

/** What the suite needs of an engine under test. */
export interface EngineFixture {
  readonly engine: Engine;
  /** The engine's idea of now, in ms since the Unix epoch. */
  nowMs(): number;
  /** Lets so much time pass for the engine. */
  advanceMs(ms: number): void | Promise<void>;
  /** Whether the engine keeps versions: else every mutation is taken in the order of arrival. */
  readonly versioned: boolean;
  /** How much later than asked an entry may end: 0 for a clock that the suite holds. */
  readonly expiryToleranceMs: number;
  close(): Promise<void>;
}

export interface EngineUnderTest {
  readonly name: string;
  create(): Promise<EngineFixture>;
}

/**
 * Checks that an engine keeps the contract `src/engine/engine.ts`. What may differ between engines: whether versions
 * are kept (`versioned`), whether the tag is the version, and how precisely an entry ends.
 */
export function testEngine({ name, create }: EngineUnderTest): void {
  describe(`${name} keeps the engine contract`, () => {
    let fixture: EngineFixture;
    let engine: Engine;
    let clock = 1_000_000;

    beforeAll(async () => {
      fixture = await create();
      engine = fixture.engine;
    });
    beforeEach(async () => {
      await engine.clear(stamp());
    });
    afterAll(() => fixture.close());

    /** Strictly increasing versions; `back` gives one that is older than the newest by so many. */
    const stamp = (back = 0, origin = 0): Stamp => ({ version: (clock++ - back) as Version, origin });
    const reserve = (count: number): void => {
      clock += count;
    };

    interface PutOptions {
      contentType?: string;
      ttlMs?: number;
      stamp?: Stamp;
      condition?: Condition | null;
    }

    const put = async (key: string, value: string | Buffer, options: PutOptions = {}) => {
      const bytes = Buffer.from(value);
      const source = Buffer.concat([Buffer.from("<<"), bytes, Buffer.from(">>")]);
      const reusedKey = keyOf(key);
      const outcome = engine.put({
        key: reusedKey,
        source,
        start: 2,
        end: 2 + bytes.length,
        contentType: options.contentType ?? JSON_CONTENT_TYPE,
        expiresAtMs: options.ttlMs === undefined ? NEVER : fixture.nowMs() + options.ttlMs,
        stamp: options.stamp ?? stamp(),
        condition: options.condition ?? null,
      });
      // The caller reuses its buffers as soon as the call has returned.
      source.fill(0);
      reusedKey.bytes.fill(0);
      return await outcome;
    };
    const find = async (key: string) => {
      const sink = new CollectingSink();
      return (await engine.get(keyOf(key), sink)) ? { info: infoOf(sink), bytes: sink.bytes } : null;
    };
    const textOf = async (key: string) => (await find(key))?.bytes.toString() ?? null;
    const tagOf = async (key: string) => infoOf(await found(key)).tag;
    const found = async (key: string) => {
      const sink = new CollectingSink();
      expect(await engine.get(keyOf(key), sink)).toBe(true);
      return sink;
    };
    const remove = async (key: string, condition: Condition | null = null, of = stamp(), tombstoneUntilMs = NEVER) =>
      await engine.delete({ key: keyOf(key), stamp: of, condition, tombstoneUntilMs });
    const touch = async (key: string, ttlMs: number | null, condition: Condition | null = null, of = stamp()) => {
      const expiresAtMs = ttlMs === null ? NEVER : fixture.nowMs() + ttlMs;
      return await engine.touch({ key: keyOf(key), expiresAtMs, stamp: of, condition });
    };
    const increment = async (
      key: string,
      delta: number,
      ttlMs: number | null = null,
      condition: Condition | null = null,
    ) =>
      await engine.increment({
        key: keyOf(key),
        delta,
        expiresAtMsIfNew: ttlMs === null ? NEVER : fixture.nowMs() + ttlMs,
        stamp: stamp(),
        condition,
      });
    const listAll = async (pattern: string | null = null, limit = 100) => {
      const keys: string[] = [];
      let cursor: string | null = null;
      do {
        const page = await engine.scan({ pattern: pattern === null ? null : globPattern(pattern), cursor, limit });
        expect(page.keys.length).toBeLessThanOrEqual(limit);
        keys.push(...page.keys);
        cursor = page.cursor;
      } while (cursor !== null);
      return keys;
    };

    describe("get and put", () => {
      test("an absent key is not found, and the sink hears nothing", async () => {
        const sink = new CollectingSink();
        expect(await engine.get(keyOf("nobody"), sink)).toBe(false);
        expect(sink.info).toBeNull();
      });

      test("a value comes back byte for byte, at the sink's offset", async () => {
        expect(await put("k", '{"a": 1.0, "n":12345678901234567890}')).toBe("stored");
        expect(await textOf("k")).toBe('{"a": 1.0, "n":12345678901234567890}');
        expect((await find("k"))?.info.contentType).toBe(JSON_CONTENT_TYPE);
        expect((await find("k"))?.info.expiresAtMs).toBe(NEVER);
      });

      test("a sink that wants no value gets the entry's facts alone", async () => {
        await put("k", '"value"');
        const sink = new HeadSink();
        expect(await engine.get(keyOf("k"), sink)).toBe(true);
        expect(sink.info?.valueLength).toBe(7);
      });

      test("the newer put replaces the older, whatever its size", async () => {
        for (const size of [10, 5000, 3, 70_000, 0]) {
          const value = JSON.stringify("v".repeat(size));
          expect(await put("k", value)).toBe("stored");
          expect(await textOf("k")).toBe(value);
        }
      });

      test.each([0, 1, 2, 255, 256, 4095, 4096, 65_535, 65_537, 1_048_576, MAX_VALUE_BYTES])(
        "a binary value of %d bytes comes back with its content type",
        async (size) => {
          const value = Buffer.alloc(size);
          for (let at = 0; at < size; at++) value[at] = (at * 31 + (at >> 8)) & 0xff;
          expect(await put("bin", value, { contentType: "image/png" })).toBe("stored");
          const entry = await find("bin");
          expect(entry?.info.contentType).toBe("image/png");
          expect(entry?.info.valueLength).toBe(size);
          expect(entry?.bytes.equals(value)).toBe(true);
        },
        30_000,
      );

      test("a value that begins with byte 0x01 comes back, also under the JSON content type", async () => {
        for (const contentType of [JSON_CONTENT_TYPE, "text/plain"]) {
          await put("k", Buffer.from([1, 0, 0, 7, 255]), { contentType });
          expect((await find("k"))?.bytes).toEqual(Buffer.from([1, 0, 0, 7, 255]));
        }
      });

      test("the longest content type is kept", async () => {
        const contentType = `text/${"x".repeat(250)}`;
        await put("k", "text", { contentType });
        expect((await find("k"))?.info.contentType).toBe(contentType);
      });

      test.each([1, 2, 7, 8, 9, 63, 64, 255, 256, 1023, MAX_KEY_BYTES])("a key of %d bytes works", async (size) => {
        const key = "k".repeat(size);
        await put(key, "1");
        await put(`${"k".repeat(size - 1)}j`, "2");
        expect(await textOf(key)).toBe("1");
        expect(await remove(key)).toBe("deleted");
        expect(await textOf(key)).toBeNull();
      });

      test("keys of any Unicode and with special characters are kept apart", async () => {
        const keys = [
          "ä",
          "a\u0308",
          "日本",
          "🙂",
          "a b",
          "a/b",
          "..",
          "*",
          "?",
          "[x]",
          "\\",
          "{t}",
          "a}b",
          "{}x",
          "%41",
          "__proto__",
        ];
        for (const key of keys) await put(key, JSON.stringify(key));
        for (const key of keys) expect(await textOf(key)).toBe(JSON.stringify(key));
        expect((await listAll()).sort()).toEqual([...keys].sort());
      });
    });

    describe("expiry", () => {
      test("an entry lives until its expiry and not longer", async () => {
        await put("k", "1", { ttlMs: 150 });
        expect(await textOf("k")).toBe("1");
        await fixture.advanceMs(75);
        expect(await textOf("k")).toBe("1");
        await fixture.advanceMs(75 + fixture.expiryToleranceMs);
        expect(await textOf("k")).toBeNull();
      });

      test("the expiry that was given is told, to the tolerance", async () => {
        const expiresAtMs = fixture.nowMs() + 60_000;
        await put("k", "1", { ttlMs: 60_000 });
        const told = (await find("k"))?.info.expiresAtMs ?? 0;
        expect(Math.abs(told - expiresAtMs)).toBeLessThanOrEqual(fixture.expiryToleranceMs);
      });

      test("a put without expiry takes the one before away", async () => {
        await put("k", "1", { ttlMs: 40 });
        await put("k", "2");
        await fixture.advanceMs(40 + fixture.expiryToleranceMs);
        expect(await textOf("k")).toBe("2");
      });

      test("an entry that is born expired is absent", async () => {
        await put("k", "1", { ttlMs: -1000 });
        await fixture.advanceMs(fixture.expiryToleranceMs);
        expect(await textOf("k")).toBeNull();
        expect(await remove("k")).toBe("absent");
      });

      test("an expired entry is absent for conditions, touch, delete, increment and scan", async () => {
        for (const key of ["a", "b", "c", "d", "e"]) await put(key, "1", { ttlMs: 20 });
        await fixture.advanceMs(20 + fixture.expiryToleranceMs);
        expect(await put("a", "2", { condition: { kind: "present" } })).toBe("condition-failed");
        expect(await put("b", "2", { condition: { kind: "absent" } })).toBe("stored");
        expect(await touch("c", 1000)).toBe("absent");
        expect(await remove("d")).toBe("absent");
        expect(await increment("e", 5)).toEqual({ kind: "incremented", value: 5 });
        expect((await listAll()).sort()).toEqual(["b", "e"]);
      });
    });

    describe("conditions", () => {
      test("absent and present", async () => {
        expect(await put("k", "1", { condition: { kind: "present" } })).toBe("condition-failed");
        expect(await textOf("k")).toBeNull();
        expect(await put("k", "2", { condition: { kind: "absent" } })).toBe("stored");
        expect(await put("k", "3", { condition: { kind: "absent" } })).toBe("condition-failed");
        expect(await put("k", "4", { condition: { kind: "present" } })).toBe("stored");
        expect(await textOf("k")).toBe("4");
      });

      test("a tag names the state that was read", async () => {
        await put("k", "1");
        const before = await tagOf("k");
        expect(await tagOf("k")).toBe(before);
        expect(Number.isSafeInteger(before)).toBe(true);
        expect(await put("k", "2", { condition: { kind: "tag-in", tags: [7, before] } })).toBe("stored");
        expect(await tagOf("k")).not.toBe(before);
        expect(await put("k", "3", { condition: { kind: "tag-in", tags: [before] } })).toBe("condition-failed");
        expect(await remove("k", { kind: "tag-in", tags: [before] })).toBe("condition-failed");
        expect(await touch("k", 9000, { kind: "tag-in", tags: [before] })).toBe("condition-failed");
        expect(await remove("k", { kind: "tag-in", tags: [await tagOf("k")] })).toBe("deleted");
      });

      test("tag-in fails where there is no entry; tag-not-in holds there", async () => {
        expect(await put("k", "1", { condition: { kind: "tag-in", tags: [1] } })).toBe("condition-failed");
        expect(await put("k", "1", { condition: { kind: "tag-not-in", tags: [1] } })).toBe("stored");
        const tag = await tagOf("k");
        expect(await put("k", "2", { condition: { kind: "tag-not-in", tags: [tag] } })).toBe("condition-failed");
        expect(await put("k", "2", { condition: { kind: "tag-not-in", tags: [tag - 1] } })).toBe("stored");
      });

      test("of many that put an absent key at once, one wins", async () => {
        const puts = Array.from({ length: 20 }, (_, i) => put("k", String(i), { condition: { kind: "absent" } }));
        expect((await Promise.all(puts)).filter((outcome) => outcome === "stored")).toEqual(["stored"]);
      });

      test("of many that replace the same state at once, one wins", async () => {
        await put("k", "0");
        const tags = [await tagOf("k")];
        const puts = Array.from({ length: 20 }, (_, i) =>
          put("k", String(i + 1), { condition: { kind: "tag-in", tags } }),
        );
        expect((await Promise.all(puts)).filter((outcome) => outcome === "stored")).toEqual(["stored"]);
      });
    });

    describe("delete and touch", () => {
      test("delete tells whether there was an entry", async () => {
        await put("k", "1");
        expect(await remove("k")).toBe("deleted");
        expect(await remove("k")).toBe("absent");
        expect(await textOf("k")).toBeNull();
        expect(await put("k", "2")).toBe("stored");
        expect(await textOf("k")).toBe("2");
      });

      test("delete keeps to conditions", async () => {
        expect(await remove("k", { kind: "present" })).toBe("condition-failed");
        await put("k", "1");
        expect(await remove("k", { kind: "absent" })).toBe("condition-failed");
        expect(await remove("k", { kind: "present" })).toBe("deleted");
      });

      test("touch sets another expiry, or none, and leaves value and content type", async () => {
        expect(await touch("k", 1000)).toBe("absent");
        await put("k", "text", { contentType: "text/plain", ttlMs: 30 });
        expect(await touch("k", 120_000)).toBe("touched");
        await fixture.advanceMs(30 + fixture.expiryToleranceMs);
        const entry = await find("k");
        expect(entry?.bytes.toString()).toBe("text");
        expect(entry?.info.contentType).toBe("text/plain");
        expect((entry?.info.expiresAtMs ?? 0) - fixture.nowMs()).toBeGreaterThan(100_000);
        expect(await touch("k", null)).toBe("touched");
        expect((await find("k"))?.info.expiresAtMs).toBe(NEVER);
        expect(await touch("k", 20)).toBe("touched");
        await fixture.advanceMs(20 + fixture.expiryToleranceMs);
        expect(await textOf("k")).toBeNull();
      });
    });

    describe("increment", () => {
      test("counts from 0 and keeps the expiry of an entry that exists", async () => {
        expect(await increment("n", 5, 60_000)).toEqual({ kind: "incremented", value: 5 });
        const before = (await find("n"))?.info.expiresAtMs ?? 0;
        expect(await increment("n", -7, 999_000)).toEqual({ kind: "incremented", value: -2 });
        expect(Math.abs(((await find("n"))?.info.expiresAtMs ?? 0) - before)).toBeLessThanOrEqual(
          fixture.expiryToleranceMs,
        );
        expect(await textOf("n")).toBe("-2");
        expect((await find("n"))?.info.contentType).toBe(JSON_CONTENT_TYPE);
      });

      test.each(['"5"', "1.5", "1e3", "null", "[1]", "9007199254740992", "12345678901234567890"])(
        "refuses %s, which is no safe integer",
        async (value) => {
          await put("n", value);
          expect(await increment("n", 1)).toEqual({ kind: "not-an-integer" });
          expect(await textOf("n")).toBe(value);
        },
      );

      test("refuses digits that aren't JSON", async () => {
        await put("n", "5", { contentType: "text/plain" });
        expect(await increment("n", 1)).toEqual({ kind: "not-an-integer" });
      });

      test("works up to the edges of the safe integers and refuses to leave them", async () => {
        const max = Number.MAX_SAFE_INTEGER;
        await put("n", String(max - 1));
        expect(await increment("n", 1)).toEqual({ kind: "incremented", value: max });
        expect(await increment("n", 1)).toEqual({ kind: "out-of-range" });
        expect(await textOf("n")).toBe(String(max));
        expect(await increment("n", -max)).toEqual({ kind: "incremented", value: 0 });
        expect(await increment("n", -max)).toEqual({ kind: "incremented", value: -max });
        expect(await increment("n", -1)).toEqual({ kind: "out-of-range" });
      });

      test("loses none of many that run at once", async () => {
        await Promise.all(Array.from({ length: 100 }, () => increment("n", 1)));
        expect(await textOf("n")).toBe("100");
      });

      test("keeps to conditions", async () => {
        expect(await increment("n", 1, null, { kind: "present" })).toEqual({ kind: "condition-failed" });
        await put("n", "1");
        expect(await increment("n", 1, null, { kind: "absent" })).toEqual({ kind: "condition-failed" });
        const tags = [await tagOf("n")];
        expect(await increment("n", 1, null, { kind: "tag-in", tags })).toEqual({ kind: "incremented", value: 2 });
        expect(await increment("n", 1, null, { kind: "tag-in", tags })).toEqual({ kind: "condition-failed" });
      });
    });

    describe("scan", () => {
      test("of nothing is empty", async () => {
        expect(await listAll()).toEqual([]);
      });

      test.each([1, 7, 1000])("gives every key that is there throughout, in pages of at most %d", async (limit) => {
        const keys = Array.from({ length: 120 }, (_, i) => `key:${i}`);
        for (const key of keys) await put(key, "1");
        expect([...new Set(await listAll(null, limit))].sort()).toEqual([...keys].sort());
      });

      test("gives every key that stays while others come and go", async () => {
        const stays = Array.from({ length: 200 }, (_, i) => `stay:${i}`);
        for (const key of stays) await put(key, "1");
        const seen = new Set<string>();
        let cursor: string | null = null;
        let round = 0;
        do {
          const page = await engine.scan({ pattern: null, cursor, limit: 10 });
          for (const key of page.keys) seen.add(key);
          cursor = page.cursor;
          for (let i = 0; i < 20; i++) await put(`come:${round}:${i}`, "1");
          for (let i = 0; i < 20; i++) await remove(`come:${round - 1}:${i}`);
        } while (cursor !== null && ++round < 400);
        expect(cursor).toBeNull();
        expect(stays.filter((key) => !seen.has(key))).toEqual([]);
      });

      test("filters by pattern", async () => {
        for (const key of ["user:1", "user:2", "order:1"]) await put(key, "1");
        expect((await listAll("user:*", 1)).sort()).toEqual(["user:1", "user:2"]);
      });

      test.each(["nonsense", "", "-1", "0|", "🙂"])("refuses the cursor %j, which it never gave", async (cursor) => {
        const scan = async () => await engine.scan({ pattern: null, cursor, limit: 10 });
        expect(scan()).rejects.toBeInstanceOf(InvalidCursorError);
      });
    });

    describe("delete by pattern", () => {
      const KEYS = [
        "user:1",
        "user:2",
        "user:10",
        "user",
        "user:",
        "order:1",
        "a*b",
        "a?b",
        "a[b",
        "a]b",
        "a\\b",
        "axb",
        "äöü",
        "äxü",
        "日本語",
        "日x語",
        "🙂",
        "a🙂b",
        "a-b",
        "a^b",
        "A",
        "{user}:1",
        "x{y",
        "aab",
        "ab",
        "a\nb".replace("\n", " "),
      ];

      test.each([
        "user:*",
        "user:?",
        "*",
        "",
        "nothing*",
        "a\\*b",
        "a\\?b",
        "a\\[b",
        "a[*]b",
        "a[?]b",
        "a\\\\b",
        "a?b",
        "?",
        "??",
        "a[x-z]b",
        "a[^x]b",
        "a[^a-z]b",
        "ä?ü",
        "ä*ü",
        "?本?",
        "日[本x]語",
        "a[🙂]b",
        "*🙂*",
        "*:1",
        "*s*r*:*",
        "{user}:*",
        "x{y",
        "a*b",
        "*a*b*",
        "[a-z]*",
        "[^a-z]*",
        "user:[0-9]",
        "a[\\]]b",
        "a[a\\-z]b",
        "us?r:1*",
      ])("%j removes the keys that it matches, and counts them", async (text) => {
        const pattern = globPattern(text);
        for (const key of KEYS) await put(key, "1");
        const matched = KEYS.filter((key) => pattern.matches(Buffer.from(key), 0, Buffer.byteLength(key)));
        expect(await engine.deleteMatching(pattern, stamp())).toBe(matched.length);
        expect((await listAll()).sort()).toEqual(KEYS.filter((key) => !matched.includes(key)).sort());
      });

      test("leaves other work of this thread its turn", async () => {
        for (let i = 0; i < 3000; i++) await put(`many:${i}`, "1");
        let turns = 0;
        let isOver = false;
        const turn = () => {
          turns++;
          if (!isOver) setImmediate(turn);
        };
        setImmediate(turn);
        const deleted = await engine.deleteMatching(globPattern("many:*"), stamp());
        isOver = true;
        expect(deleted).toBe(3000);
        expect(turns).toBeGreaterThan(0);
      });
    });

    describe("clear", () => {
      test("removes everything and counts it", async () => {
        for (let i = 0; i < 50; i++) await put(`k${i}`, "1");
        expect(await engine.clear(stamp())).toBe(50);
        expect(await listAll()).toEqual([]);
        expect(await engine.clear(stamp())).toBe(0);
        expect(await put("k1", "2")).toBe("stored");
        expect(await textOf("k1")).toBe("2");
      });
    });

    describe("stats and health", () => {
      test("counts of hits, misses, sets and deletes grow with the calls", async () => {
        const before = await engine.stats();
        await put("a", "1");
        await put("b", "1");
        await find("a");
        await find("nobody");
        await remove("a");
        await engine.deleteMatching(globPattern("b"), stamp());
        const after = await engine.stats();
        expect(after.sets - before.sets).toBe(2);
        expect(after.hits - before.hits).toBe(1);
        expect(after.misses - before.misses).toBe(1);
        expect(after.deletes - before.deletes).toBe(2);
      });

      test("entries are those that are stored", async () => {
        const before = (await engine.stats()).entries;
        for (let i = 0; i < 10; i++) await put(`k${i}`, "1");
        expect((await engine.stats()).entries - before).toBe(10);
      });

      test("is healthy", () => {
        expect(engine.health().status).toBe("ok");
      });

      test("background work says when it wants to be called again", () => {
        expect(engine.maintain()).toBeGreaterThan(0);
      });
    });

    describe("versions", () => {
      const versioned = () => fixture.versioned;

      test("an older put never replaces a newer one", async () => {
        reserve(10);
        await put("k", "1");
        const outcome = await put("k", "0", { stamp: stamp(5) });
        expect([outcome, await textOf("k")]).toEqual(versioned() ? ["superseded", "1"] : ["stored", "0"]);
      });

      test("the origin breaks ties", async () => {
        const { version } = stamp();
        await put("k", '"low"', { stamp: { version, origin: 5 } });
        expect(await put("k", '"high"', { stamp: { version, origin: 0xffff_ffff } })).toBe("stored");
        const outcome = await put("k", '"low again"', { stamp: { version, origin: 5 } });
        expect(outcome).toBe(versioned() ? "superseded" : "stored");
      });

      test("the same put a second time changes nothing", async () => {
        const same = stamp();
        expect(await put("k", "1", { stamp: same })).toBe("stored");
        await put("k", "1", { stamp: same });
        expect(await textOf("k")).toBe("1");
      });

      test("an older delete leaves a newer entry, an older touch its expiry", async () => {
        reserve(10);
        await put("k", "1");
        const outcomes = [await touch("k", 60_000, null, stamp(4)), await remove("k", null, stamp(5))];
        expect(outcomes).toEqual(versioned() ? ["superseded", "superseded"] : ["touched", "deleted"]);
      });

      test("a delete that is remembered refuses older puts until its time is over", async () => {
        reserve(20);
        await put("k", "1");
        expect(await remove("k", null, stamp(), fixture.nowMs() + 60_000)).toBe("deleted");
        const outcome = await put("k", "0", { stamp: stamp(10) });
        expect(outcome).toBe(versioned() ? "superseded" : "stored");
        expect(await put("k", "2")).toBe("stored");
        expect(await textOf("k")).toBe("2");
        expect(await listAll()).toEqual(["k"]);
      });

      test("a delete of nothing is remembered as well", async () => {
        reserve(20);
        expect(await remove("k", null, stamp(), fixture.nowMs() + 60_000)).toBe("absent");
        expect(await listAll()).toEqual([]);
        expect(await put("k", "0", { stamp: stamp(10) })).toBe(versioned() ? "superseded" : "stored");
      });

      test("a clear refuses older puts and leaves newer entries", async () => {
        reserve(20);
        const cleared = stamp(10);
        await put("old", "1", { stamp: stamp(15) });
        await put("new", "2");
        const deleted = await engine.clear(cleared);
        expect([deleted, await textOf("new")]).toEqual(versioned() ? [1, "2"] : [2, null]);
        expect(await put("old", "1", { stamp: stamp(18) })).toBe(versioned() ? "superseded" : "stored");
      });

      test("a delete by pattern leaves newer entries", async () => {
        reserve(20);
        const pattern = globPattern("p:*");
        await put("p:old", "1", { stamp: stamp(15) });
        await put("p:new", "2");
        const deleted = await engine.deleteMatching(pattern, stamp(10));
        expect(deleted).toBe(versioned() ? 1 : 2);
        expect(await textOf("p:new")).toBe(versioned() ? "2" : null);
      });

      test("the version and the origin that were given come back, and the tag is the version", async () => {
        if (!versioned()) return;
        const given = stamp(0, 0xdead_beef);
        await put("k", "1", { stamp: given });
        expect((await find("k"))?.info.stamp).toEqual(given);
        expect((await find("k"))?.info.tag).toBe(given.version);
      });

      test("versions use all of a safe integer", async () => {
        if (!versioned()) return;
        const far = (2 ** 52) as Version;
        await put("far", "1", { stamp: { version: (far + 1) as Version, origin: 1 } });
        expect((await find("far"))?.info.stamp.version).toBe((far + 1) as Version);
        expect(await put("far", "0", { stamp: { version: far, origin: 1 } })).toBe("superseded");
        expect(await remove("far", null, { version: (far + 2) as Version, origin: 1 })).toBe("deleted");
      });
    });
  });
}

function infoOf(sink: CollectingSink) {
  if (sink.info === null) throw new Error("the sink got no entry");
  return sink.info;
}
