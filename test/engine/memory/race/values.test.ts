import { describe, expect, test } from "bun:test";
import { faultOf, HEADER_BYTES, writeValue } from "./values.ts";

const HEAD = { key: 7, bytes: 3_003, generation: 41, expiresAtMs: 0 };
const READING = { key: 7, bytes: 3_003, expiresAtMs: 0, oldest: 41, nowMs: 1_000 };
/** All words of a value are looked at. */
const WHOLE = 0;

function wordsOf(change: Partial<typeof HEAD> = {}): Int32Array {
  const words = new Int32Array(2_000);
  writeValue(words, { ...HEAD, ...change });
  return words;
}

describe("a value of the race", () => {
  test.each([HEADER_BYTES, 21, 22, 23, 24, 3_003])("of %d bytes is right as it was written", (bytes) => {
    const words = wordsOf({ bytes });
    for (let sample = 0; sample < 64; sample++) expect(faultOf(words, { ...READING, bytes }, sample)).toBeNull();
  });

  test.each([
    ["of another key", { key: 8 }, {}, /foreign/],
    ["of another length", { bytes: 3_004 }, {}, /foreign/],
    ["of another expiry", { expiresAtMs: 2_000 }, { expiresAtMs: 2_001 }, /foreign/],
    ["that has expired", { expiresAtMs: 1_000 }, { expiresAtMs: 1_000 }, /expired/],
    ["that was overwritten or deleted", { generation: 40 }, {}, /old/],
  ])("%s is wrong", (_, change, reading, fault) => {
    expect(faultOf(wordsOf(change), { ...READING, ...reading }, WHOLE)).toMatch(fault);
  });

  test("is wrong with any byte changed", () => {
    const words = wordsOf();
    const bytes = new Uint8Array(words.buffer);
    for (let at = 0; at < HEAD.bytes; at++) {
      bytes[at] = (bytes[at] ?? 0) ^ 1;
      expect(faultOf(words, READING, WHOLE)).not.toBeNull();
      bytes[at] = (bytes[at] ?? 0) ^ 1;
    }
  });

  test("is wrong with a piece of another generation at its end, whichever words are looked at", () => {
    const words = wordsOf();
    words.set(wordsOf({ generation: 42 }).subarray(600), 600);
    for (let sample = 0; sample < 64; sample++) expect(faultOf(words, READING, sample)).toMatch(/torn/);
  });
});
