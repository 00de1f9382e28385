/** What every backend must do. A backend's own test file calls `testBackend` with a fresh store for each test. */

import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import type { Backend, BackendRow, LoadResult } from "../../src/backend/backend.ts";
import { JSON_ATTRIBUTES, MAX_VALUE_BYTES, valueWith } from "../../src/model/entry.ts";
import type { Version } from "../../src/model/stamp.ts";

const IN_TIME = { timeoutMs: 20_000 };

export interface BackendUnderTest {
  readonly name: string;
  /** A backend on an empty store. */
  create(): Promise<Backend>;
  /** A row that this backend refuses for good; null = there is none. */
  readonly refusedRow: BackendRow | null;
  /** Whether versions are compared by the backend itself. */
  readonly comparesVersions: boolean;
  readonly largestValueBytes?: number;
}

export function version(number: number): Version {
  return number as Version;
}

export function jsonRow(key: string, json: string, rowVersion: number): BackendRow {
  return { kind: "put", key, value: valueWith(Buffer.from(json), JSON_ATTRIBUTES), version: version(rowVersion) };
}

export function deleteRow(key: string, rowVersion: number): BackendRow {
  return { kind: "delete", key, version: version(rowVersion) };
}

/** The value as text, or what else was the result. */
export function textOf(result: LoadResult | undefined): string {
  if (result === undefined) return "no result";
  return result.kind === "found" ? result.value.bytes.toString("utf8") : result.kind;
}

const JSON_TEXTS = {
  "a number with a trailing zero": "1.0",
  "a number beyond 64 bits": "123456789012345678901234567890",
  "a number beyond a double": "1e400",
  "key order, spaces and a repeated name": '{"b": 1,  "a":2, "b":3}',
  "an escaped NUL": '"\\u0000"',
  "an escaped lone surrogate": '"\\ud800"',
  "every plane of Unicode": '"é ß 漢 😀 \u2028"',
  "quotes and backslashes": '"\\" \\\\ \' {} , NULL"',
  "a string that looks like an array": '"{a,b}"',
  null: "null",
  "an empty object": "{}",
  "10,000 nested arrays": "[".repeat(10_000) + "]".repeat(10_000),
  "100,000 nested arrays": "[".repeat(100_000) + "]".repeat(100_000),
} as const;

const KEYS = [
  "user:101",
  "User:101",
  "user:101 ",
  " ",
  "a/b?c=d&e#f",
  "é",
  "e\u0301",
  "😀",
  "%2F",
  "'; DROP TABLE x",
  '"\\{},',
  "x".repeat(1024),
];

export function testBackend(subject: BackendUnderTest): void {
  describe(subject.name, () => {
    let backend: Backend;
    beforeEach(async () => {
      backend = await subject.create();
    });
    afterEach(() => backend.close());

    const write = (rows: readonly BackendRow[]) => backend.write(rows, IN_TIME);
    const load = (keys: readonly string[]) => backend.load(keys, IN_TIME);
    const loadText = async (key: string) => textOf((await load([key]))[0]);

    test("a key that was never written is absent", async () => {
      expect(await load(["nothing"])).toEqual([{ kind: "absent" }]);
    });

    test("a written value is loaded with its type", async () => {
      expect(await write([jsonRow("a", '{"x":1}', 1)])).toEqual([{ kind: "written" }]);
      expect(await load(["a"])).toEqual([
        { kind: "found", value: { bytes: Buffer.from('{"x":1}'), contentType: "application/json" } },
      ]);
    });

    for (const [what, text] of Object.entries(JSON_TEXTS)) {
      test(`JSON comes back as it was sent: ${what}`, async () => {
        expect(await write([jsonRow("a", text, 1)])).toEqual([{ kind: "written" }]);
        expect(await loadText("a")).toBe(text);
      });
    }

    test("any bytes come back with their type", async () => {
      const value = Buffer.from(Array.from({ length: 256 }, (_, i) => i));
      await write([
        { kind: "put", key: "a", value: { bytes: value, contentType: "image/x-test; q=1" }, version: version(1) },
      ]);
      expect(await load(["a"])).toEqual([{ kind: "found", value: { bytes: value, contentType: "image/x-test; q=1" } }]);
    });

    test("an empty value of another type comes back empty", async () => {
      const value = Buffer.alloc(0);
      await write([
        { kind: "put", key: "a", value: { bytes: value, contentType: "text/x-test" }, version: version(1) },
      ]);
      expect(await load(["a"])).toEqual([{ kind: "found", value: { bytes: value, contentType: "text/x-test" } }]);
    });

    test("the largest value comes back", async () => {
      const text = `"${"é".repeat((subject.largestValueBytes ?? MAX_VALUE_BYTES) / 2 - 1)}"`;
      expect(await write([jsonRow("a", text, 1)])).toEqual([{ kind: "written" }]);
      expect((await loadText("a")) === text).toBe(true);
    }, 300_000);

    test("keys are told apart by every byte", async () => {
      const rows = KEYS.map((key, i) => jsonRow(key, String(i), 1));
      expect(await write(rows)).toEqual(rows.map(() => ({ kind: "written" })));
      const loaded = await load(KEYS);
      expect(loaded.map(textOf)).toEqual(KEYS.map((_, i) => String(i)));
    });

    test("results are in the order of the keys, with the absent among them", async () => {
      await write([jsonRow("a", "1", 1), jsonRow("c", "3", 1)]);
      expect((await load(["c", "b", "a"])).map(textOf)).toEqual(["3", "absent", "1"]);
    });

    test("2,500 rows are written in one call and loaded in one call", async () => {
      const rows = Array.from({ length: 2500 }, (_, i) => jsonRow(`k:${i}`, `{"i":${i}}`, i + 1));
      const results = await write(rows);
      expect(results.filter((result) => result.kind === "written").length).toBe(2500);
      const loaded = await load(rows.map((row) => row.key));
      expect(loaded.map(textOf)).toEqual(rows.map((_, i) => `{"i":${i}}`));
    }, 300_000);

    test("a value of another type replaces JSON, and JSON replaces it", async () => {
      await write([jsonRow("a", "1", 1)]);
      await write([
        { kind: "put", key: "a", value: { bytes: Buffer.from("x"), contentType: "text/x-test" }, version: version(2) },
      ]);
      expect(await loadText("a")).toBe("x");
      await write([jsonRow("a", "2", 3)]);
      expect(await loadText("a")).toBe("2");
    });

    test("a row that is written twice is there once", async () => {
      await write([jsonRow("a", "1", 5)]);
      expect(await write([jsonRow("a", "1", 5)])).toEqual([{ kind: "written" }]);
      expect(await loadText("a")).toBe("1");
    });

    test("a deleted key is absent, and deleting it again is no error", async () => {
      await write([jsonRow("a", "1", 1), jsonRow("b", "2", 1)]);
      expect(await write([deleteRow("a", 2)])).toEqual([{ kind: "written" }]);
      expect(await write([deleteRow("a", 2)])).toEqual([{ kind: "written" }]);
      expect((await load(["a", "b"])).map(textOf)).toEqual(["absent", "2"]);
    });

    test("puts and deletes come mixed in one batch", async () => {
      await write([jsonRow("a", "1", 1)]);
      const results = await write([jsonRow("b", "2", 2), deleteRow("a", 3), jsonRow("c", "3", 4)]);
      expect(results).toEqual([{ kind: "written" }, { kind: "written" }, { kind: "written" }]);
      expect((await load(["a", "b", "c"])).map(textOf)).toEqual(["absent", "2", "3"]);
    });

    if (subject.comparesVersions) {
      test("an older version never replaces a newer one, and says so", async () => {
        await write([jsonRow("a", '"new"', 9), jsonRow("b", '"old"', 1)]);
        expect(await write([jsonRow("a", '"old"', 8), jsonRow("b", '"new"', 2)])).toMatchObject([
          { kind: "superseded" },
          { kind: "written" },
        ]);
        expect((await load(["a", "b"])).map(textOf)).toEqual(['"new"', '"new"']);
      });

      test("an older delete never removes a newer value, and says so", async () => {
        await write([jsonRow("a", "1", 9), jsonRow("b", "1", 1)]);
        expect(await write([deleteRow("a", 8), deleteRow("b", 8)])).toMatchObject([
          { kind: "superseded" },
          { kind: "written" },
        ]);
        expect((await load(["a", "b"])).map(textOf)).toEqual(["1", "absent"]);
      });

      test("versions of 53 bits are compared exactly", async () => {
        const top = Number.MAX_SAFE_INTEGER;
        await write([jsonRow("a", "1", top)]);
        expect(await write([jsonRow("a", "2", top - 1)])).toMatchObject([{ kind: "superseded" }]);
      });
    }

    const { refusedRow } = subject;
    if (refusedRow !== null) {
      test("a row that is refused for good holds up none of the others", async () => {
        const before = Array.from({ length: 30 }, (_, i) => jsonRow(`before:${i}`, "1", 1));
        const after = Array.from({ length: 30 }, (_, i) => jsonRow(`z:after:${i}`, "1", 1));
        const results = await write([...before, refusedRow, ...after]);
        expect(results.map((result) => result.kind)).toEqual([
          ...before.map(() => "written" as const),
          "refused",
          ...after.map(() => "written" as const),
        ]);
        const refusal = results[before.length];
        expect(refusal?.kind === "refused" ? refusal.reason.length > 0 : false).toBe(true);
        expect((await load([refusedRow.key]))[0]?.kind).toBe("absent");
      });
    }

    test("a call whose caller has gone ends with failures", async () => {
      const signal = AbortSignal.abort();
      const [loaded] = await backend.load(["a"], { timeoutMs: 5_000, signal });
      expect(loaded?.kind === "failed" ? loaded.error.code : loaded?.kind).toBe("ERR_BACKEND_UNAVAILABLE");
      const [written] = await backend.write([jsonRow("a", "1", 1)], { timeoutMs: 5_000, signal });
      expect(written?.kind === "retry" ? written.error.code : written?.kind).toBe("ERR_BACKEND_UNAVAILABLE");
    });
  });
}
