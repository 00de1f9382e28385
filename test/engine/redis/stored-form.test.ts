import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { decodeStored, encodeStored } from "../../../src/engine/redis/stored-form.ts";
import { JSON_CONTENT_TYPE } from "../../../src/model/entry.ts";
import type { Version } from "../../../src/model/stamp.ts";

const BINARY_CONTENT_TYPE = "application/octet-stream";
const REVISION = 0xdead_beef;
const encode = (text: string | Buffer, contentType: string, version: number | null) => {
  const bytes = Buffer.from(text);
  const mark = version === null ? REVISION : { version: version as Version, nodeId: 0xffff_fffe };
  return encodeStored(bytes, 0, bytes.length, { contentType }, mark);
};
const decode = (stored: Buffer) => {
  const {
    bytes,
    start,
    end,
    attributes: { contentType },
    stamp,
  } = decodeStored(stored);
  return { value: bytes.subarray(start, end), contentType, stamp };
};

describe("the stored form", () => {
  test("of JSON without a version is the text, and white space that says which write it was", () => {
    const stored = encode('{"a":1}', JSON_CONTENT_TYPE, null).toString();
    expect(stored).toMatch(/^\{"a":1\}[ \t\n\r]{16}$/);
    expect(JSON.parse(stored)).toEqual({ a: 1 });
    expect(decode(Buffer.from(stored)).value.toString()).toBe('{"a":1}');
    expect(decode(encode(" [ ] \n ", JSON_CONTENT_TYPE, null)).value.toString()).toBe(" [ ] \n ");
  });

  test("keeps the white space of the value itself", () => {
    const value = `3${" ".repeat(20)}`;
    for (const version of [null, 7]) {
      expect(decode(encode(value, JSON_CONTENT_TYPE, version)).value.toString()).toBe(value);
    }
  });

  test("has another revision for each write of the same value", () => {
    const bytes = Buffer.from('"x"');
    for (const contentType of [JSON_CONTENT_TYPE, "text/plain"]) {
      const revisions = [0, 1, 2 ** 31, 2 ** 32 - 1].map(
        (revision) => decodeStored(encodeStored(bytes, 0, bytes.length, { contentType }, revision)).revision,
      );
      expect(new Set(revisions).size).toBe(4);
    }
  });

  test.each([
    ["a header behind the type", "text/html\r\nSet-Cookie: a=b"],
    ["a type that isn't ASCII", "text/\u00e9"],
    ["JSON by its name", "application/json"],
    ["JSON with a parameter", "Application/JSON ;charset=x"],
  ])("with %s was made by no node, and is served as bytes", (_, contentType) => {
    const stored = encode("[1", contentType, null);
    const { value, contentType: served } = decode(stored);
    expect([JSON_CONTENT_TYPE, BINARY_CONTENT_TYPE]).toContain(served);
    if (served === JSON_CONTENT_TYPE) expect(JSON.parse(value.toString())).toBe(stored.toString());
  });

  test("of any bytes is a type that fits a header, and JSON that can be parsed", () => {
    const head = fc.tuple(
      fc.constantFrom(0, 1, 2, 255),
      fc.uint8Array({ minLength: 12, maxLength: 12 }),
      fc.constantFrom(0, 1, 16, 25, 255),
    );
    const text = fc.oneof(
      fc.string({ unit: "binary" }),
      fc.json(),
      fc.constantFrom("text/html\r\nSet-Cookie: a=b", "application/json", "[".repeat(10_000), "\ufeff1", "1e400"),
    );
    const body = fc.oneof(
      fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)),
      fc.array(text, { maxLength: 3 }).map((parts) => Buffer.from(parts.join(""))),
    );
    const crafted = fc.oneof(
      body,
      fc
        .tuple(head, body)
        .map(([[kind, mark, typeLength], rest]) =>
          Buffer.concat([Buffer.from([1, kind]), mark, Buffer.from([typeLength]), rest]),
        ),
    );
    fc.assert(
      fc.property(crafted, (stored) => {
        const {
          bytes,
          start,
          end,
          attributes: { contentType },
          revision,
          stamp,
        } = decodeStored(stored);
        expect(contentType).toMatch(/^[\x20-\x7e]{1,255}$/);
        expect(start).toBeLessThanOrEqual(end);
        expect(end).toBeLessThanOrEqual(bytes.length);
        expect(Number.isSafeInteger(revision) && Number.isSafeInteger(stamp.version)).toBe(true);
        if (contentType === JSON_CONTENT_TYPE) JSON.parse(bytes.toString("utf8", start, end));
      }),
      { numRuns: 500 },
    );
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
      expect(stamp).toEqual({ version: (version ?? 0) as Version, nodeId: version === null ? 0 : 0xffff_fffe });
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

  test("has a revision that is the version, or changes with any byte", () => {
    expect(decodeStored(encode("1", JSON_CONTENT_TYPE, 77)).revision).toBe(77);
    const revisions = new Set(Array.from({ length: 5000 }, (_, i) => decodeStored(Buffer.from(String(i))).revision));
    expect(revisions.size).toBe(5000);
    for (const revision of revisions) expect(Number.isSafeInteger(revision) && revision >= 0).toBe(true);
  });
});
