import { describe, expect, test } from "bun:test";
import { JSON_CONTENT_TYPE, MAX_VALUE_BYTES, NEVER } from "../../src/model/entry.ts";
import { MAX_KEY_BYTES } from "../../src/model/key.ts";
import { CollectingSink, HeadSink, keyOf } from "../support/collecting-sink.ts";
import type { ContractCalls } from "./contract-calls.ts";

/** Values and keys come back as they were put. */
export function testValues(calls: ContractCalls): void {
  const { put, find, textOf, remove, listAll } = calls;

  describe("get and put", () => {
    test("an absent key is not found, and the sink hears nothing", async () => {
      const sink = new CollectingSink();
      expect(await calls.engine.get(keyOf("nobody"), sink)).toBe(false);
      expect(sink.info).toBeNull();
    });

    test("a value comes back byte for byte, at the sink's offset", async () => {
      expect(await put("k", '{"a": 1.0, "n":12345678901234567890}')).toBe("stored");
      expect(await textOf("k")).toBe('{"a": 1.0, "n":12345678901234567890}');
      expect((await find("k"))?.info.attributes.contentType).toBe(JSON_CONTENT_TYPE);
      expect((await find("k"))?.info.expiresAtMs).toBe(NEVER);
    });

    test("a sink that wants no value gets the entry's facts alone", async () => {
      await put("k", '"value"');
      const sink = new HeadSink();
      expect(await calls.engine.get(keyOf("k"), sink)).toBe(true);
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
        expect(entry?.info.attributes.contentType).toBe("image/png");
        expect(entry?.info.valueLength).toBe(size);
        expect(entry?.bytes.equals(value)).toBe(true);
      },
      300_000,
    );

    test("a value that begins with byte 0x01 comes back", async () => {
      await put("k", Buffer.from([1, 0, 0, 7, 255]), { contentType: "text/plain" });
      expect((await find("k"))?.bytes).toEqual(Buffer.from([1, 0, 0, 7, 255]));
    });

    test("the longest content type is kept", async () => {
      const contentType = `text/${"x".repeat(250)}`;
      await put("k", "text", { contentType });
      expect((await find("k"))?.info.attributes.contentType).toBe(contentType);
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
}
