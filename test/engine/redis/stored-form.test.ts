import { describe, expect, test } from "bun:test";
import { JSON_CONTENT_TYPE, type Version } from "../../../src/engine/engine.ts";
import { BINARY_CONTENT_TYPE, decodeStored, encodeStored } from "../../../src/engine/redis/stored-form.ts";

const encode = (text: string | Buffer, contentType: string, version: number | null) => {
  const bytes = Buffer.from(text);
  const stamp = version === null ? null : { version: version as Version, origin: 0xffff_fffe };
  return encodeStored(bytes, 0, bytes.length, contentType, stamp);
};
const decode = (stored: Buffer) => {
  const { bytes, start, end, contentType, stamp } = decodeStored(stored);
  return { value: bytes.subarray(start, end), contentType, stamp };
};

describe("the stored form", () => {
  test("of JSON without a version is the text itself", () => {
    expect(encode('{"a":1}', JSON_CONTENT_TYPE, null).toString()).toBe('{"a":1}');
  });

  test("of anything else begins with 0x01 and is read back whole", () => {
    for (const [contentType, version] of [
      ["text/plain", null],
      ["text/plain", 2 ** 53 - 1],
      [JSON_CONTENT_TYPE, 2 ** 40 + 5],
    ] as const) {
      const stored = encode("[1]", contentType, version);
      expect(stored[0]).toBe(1);
      const { value, contentType: type, stamp } = decode(stored);
      expect([value.toString(), type]).toEqual(["[1]", contentType]);
      expect(stamp).toEqual({ version: (version ?? 0) as Version, origin: version === null ? 0 : 0xffff_fffe });
    }
  });

  test.each([
    ['{"a":1}', '{"a":1}'],
    [" 12 ", " 12 "],
    ["hello", '"hello"'],
    ["NaN", '"NaN"'],
    ["{'a':1}", "\"{'a':1}\""],
    ["", '""'],
    ["01", '"01"'],
    ['"open', '"\\"open"'],
    ["\u0001x", '"\\u0001x"'],
  ])("of a foreign value %j is served as %j", (stored, served) => {
    expect(decode(Buffer.from(stored))).toMatchObject({ value: Buffer.from(served), contentType: JSON_CONTENT_TYPE });
  });

  test("of foreign bytes that aren't UTF-8 is served as they are", () => {
    const bytes = Buffer.from([0x22, 0xff, 0x22]);
    expect(decode(bytes)).toMatchObject({ value: bytes, contentType: BINARY_CONTENT_TYPE });
  });

  test("that was cut or damaged is served as bytes, not thrown at", () => {
    const whole = encode("value", "text/plain", 5);
    for (let length = 0; length < whole.length; length++) decodeStored(whole.subarray(0, length));
    for (let at = 0; at < 15; at++) {
      const damaged = Buffer.from(whole);
      damaged[at] = 0xff;
      expect(decodeStored(damaged).end).toBeLessThanOrEqual(decodeStored(damaged).bytes.length);
    }
  });

  test("has a tag that is the version, or changes with any byte", () => {
    expect(decodeStored(encode("1", JSON_CONTENT_TYPE, 77)).tag).toBe(77);
    const tags = new Set(Array.from({ length: 5000 }, (_, i) => decodeStored(Buffer.from(String(i))).tag));
    expect(tags.size).toBe(5000);
    for (const tag of tags) expect(Number.isSafeInteger(tag) && tag >= 0).toBe(true);
  });
});
