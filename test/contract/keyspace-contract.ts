import { describe, expect, test } from "bun:test";
import { InvalidCursorError } from "../../src/engine/engine.ts";
import { globPattern } from "../support/glob-pattern.ts";
import type { ContractCalls } from "./contract-calls.ts";

/** Calls about many keys. */
export function testKeyspace(calls: ContractCalls): void {
  const { stamp, put, textOf, remove, listAll } = calls;

  describe("scan", () => {
    test("of nothing is empty", async () => {
      expect(await listAll()).toEqual([]);
    });

    test.each([1, 7, 1000])("gives every key that is there throughout, in pages of at most %d", async (limit) => {
      const keys = Array.from({ length: 120 }, (_, i) => `key:${i}`);
      for (const key of keys) await put(key, "1");
      expect(distinct(await listAll(null, limit))).toEqual([...keys].sort());
    });

    test("gives every key that stays while others come and go", async () => {
      const stays = Array.from({ length: 200 }, (_, i) => `stay:${i}`);
      for (const key of stays) await put(key, "1");
      const seen = new Set<string>();
      let cursor: string | null = null;
      let round = 0;
      do {
        const page = await calls.engine.scan({ pattern: null, cursor, limit: 10 });
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
      expect(distinct(await listAll("user:*", 1))).toEqual(["user:1", "user:2"]);
    });

    test.each(["nonsense", "", "-1", "0|", "null", "abc", "🙂"])(
      "refuses the cursor %j, which it never gave",
      async (cursor) => {
        const scan = async () => await calls.engine.scan({ pattern: null, cursor, limit: 10 });
        await expect(scan()).rejects.toBeInstanceOf(InvalidCursorError);
      },
    );
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
      expect(await calls.engine.deleteMatching(pattern, stamp())).toBe(matched.length);
      expect(distinct(await listAll())).toEqual(KEYS.filter((key) => !matched.includes(key)).sort());
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
      const deleted = await calls.engine.deleteMatching(globPattern("many:*"), stamp());
      isOver = true;
      expect(deleted).toBe(3000);
      expect(turns).toBeGreaterThan(0);
    });
  });

  describe("clear", () => {
    test("removes everything and counts it", async () => {
      for (let i = 0; i < 50; i++) await put(`k${i}`, "1");
      expect(await calls.engine.clear(stamp())).toBe(50);
      expect(await listAll()).toEqual([]);
      expect(await calls.engine.clear(stamp())).toBe(0);
      expect(await put("k1", "2")).toBe("stored");
      expect(await textOf("k1")).toBe("2");
    });
  });
}

/** Redis may give a key more than once while its table is being resized: a scan promises every key, not each once. */
function distinct(keys: readonly string[]): string[] {
  return [...new Set(keys)].sort();
}
