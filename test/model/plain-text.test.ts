import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { JsonError, skipValue } from "../../src/model/json-grammar.ts";
import { skipPlainText } from "../../src/model/plain-text.ts";

const isPlain = (byte: number): boolean => byte >= 0x20 && byte !== 0x22 && byte !== 0x5c;

describe("plain text", () => {
  test.each([0, 1, 2, 3])("from offset %p stops at most three bytes before any byte that isn't plain", (offset) => {
    for (let byte = 0; byte < 256; byte++) {
      for (let at = 0; at < 9; at++) {
        const buffer = Buffer.alloc(24, "x");
        buffer[offset + at] = byte;
        const stop = skipPlainText(buffer, offset, 24);
        if (isPlain(byte)) expect(stop).toBeGreaterThan(24 - 4);
        else expect([stop <= offset + at, stop > offset + at - 4]).toEqual([true, true]);
      }
    }
  });

  test("is never gone over beyond its end, nor past what isn't plain", () => {
    const byte = fc.oneof({ weight: 9, arbitrary: fc.nat(255) }, fc.constantFrom(0x1f, 0x20, 0x21, 0x22, 0x5c, 0x80));
    fc.assert(
      fc.property(fc.array(byte, { maxLength: 40 }), fc.nat(40), fc.nat(40), (bytes, one, other) => {
        const [start, end] = [Math.min(one, other, bytes.length), Math.min(Math.max(one, other), bytes.length)];
        const first = bytes.findIndex((value, at) => at >= start && at < end && !isPlain(value));
        const stop = skipPlainText(Buffer.from(bytes), start, end);
        expect(stop).toBeLessThanOrEqual(first < 0 ? end : first);
        expect(stop).toBeGreaterThan((first < 0 ? end : first) - 4);
      }),
      { numRuns: 5_000, seed: 5 },
    );
  });
});

test("a long string is JSON wherever its special bytes are, as JSON.parse says", () => {
  const special = fc.constantFrom(
    '\\"',
    "\\\\",
    "\\n",
    "\\u00e4",
    "\\x",
    "\\u12",
    "\n",
    "\u001f",
    "\u007f",
    "ä",
    "😀",
    '"',
    "\\",
  );
  const filling = fc.integer({ min: 0, max: 400 }).map((length) => "x".repeat(length));
  const text = fc.array(fc.tuple(filling, special), { maxLength: 4 });
  fc.assert(
    fc.property(text, filling, (parts, last) => {
      const json = `"${parts.flat().join("")}${last}"`;
      const buffer = Buffer.from(json);
      let isValid = true;
      try {
        JSON.parse(json);
      } catch {
        isValid = false;
      }
      expect(isWhole(buffer)).toBe(isValid);
    }),
    { numRuns: 5_000, seed: 6 },
  );
});

function isWhole(buffer: Buffer): boolean {
  try {
    return skipValue(buffer, 0, buffer.length) === buffer.length;
  } catch (error) {
    if (error instanceof JsonError) return false;
    throw error;
  }
}
