import { expect, test } from "bun:test";
import fc from "fast-check";
import { BadKeyError, KeyBuffer } from "../../../src/http/rest/key-buffer.ts";
import { MAX_KEY_BYTES } from "../../../src/model/key.ts";

const KEY = new KeyBuffer();

/** Latin-1, so that a test can write any byte; between bytes that would show if they were read. */
function fromPath(path: string): string {
  const buffer = Buffer.from(`/41${path}41`, "latin1");
  KEY.decodePath(buffer, 3, buffer.length - 2);
  return KEY.toString();
}

/** The contents of a JSON string, without quotes. */
function fromJson(contents: string): string {
  const buffer = Buffer.from(`\\"${contents}"udc00`);
  KEY.setJsonString(buffer, 2, buffer.length - 6);
  return KEY.toString();
}

function fromText(text: string): string {
  KEY.setText(text);
  return KEY.toString();
}

function refusalOf(set: () => void): string {
  KEY.setText("before");
  try {
    set();
  } catch (error) {
    if (!(error instanceof BadKeyError)) throw error;
    expect(error.code).toBe("ERR_INVALID_KEY");
    expect(KEY.length).toBe(0);
    return error.message;
  }
  throw new Error("the key was accepted");
}

function isKey(text: string): boolean {
  const bytes = Buffer.byteLength(text);
  const hasControl = [...text].some((character) => {
    const code = character.charCodeAt(0);
    return code < 0x20 || (code >= 0x7f && code <= 0x9f);
  });
  return text.isWellFormed() && bytes >= 1 && bytes <= MAX_KEY_BYTES && !hasControl;
}

function hexOf(bytes: readonly number[]): string {
  return bytes.map((byte) => `%${byte.toString(16).padStart(2, "0")}`).join("");
}

function throws(call: () => unknown): boolean {
  try {
    call();
    return false;
  } catch {
    return true;
  }
}

test.each([
  ["user:1", "user:1"],
  ["a/b//c/", "a/b//c/"],
  ["..", ".."],
  ["a/../b/./c", "a/../b/./c"],
  ["a+b", "a+b"],
  ["%2F%2f%2e%2E%25%20%2B", "//..% +"],
  ["%2541", "%41"],
  ["a%3Fb%23", "a?b#"],
  ["%C3%A9%e2%82%ac%F0%9F%98%80", "é€😀"],
  ["%EF%BB%BFa", "\ufeffa"],
  ["%ED%9F%BF%EE%80%80%EF%BF%BF%F4%8F%BF%BF%C2%A0", "\ud7ff\ue000\uffff\u{10ffff}\u00a0"],
])("the path %s names the key %j", (path, key) => {
  expect(fromPath(path)).toBe(key);
  expect(KEY.length).toBe(Buffer.byteLength(key));
  expect(KEY.bytes.subarray(0, KEY.length)).toEqual(Buffer.from(key));
});

test.each(["%", "a%", "%4", "%zz", "%4g", "%g4", "%%41", "%-1", "% 1", "%u0041"])(
  "the broken escape in %s is refused",
  (path) => {
    expect(refusalOf(() => fromPath(path))).toContain("write % itself as %25");
  },
);

test.each([
  ["%80", "a continuation alone"],
  ["%C3", "cut short"],
  ["%C3a", "no continuation"],
  ["%C3%C3%A9", "a lead after a lead"],
  ["%E2%82", "cut short"],
  ["%F0%9F%98", "cut short"],
  ["%C0%AF", "overlong"],
  ["%C1%BF", "overlong"],
  ["%E0%80%AF", "overlong"],
  ["%E0%9F%BF", "overlong"],
  ["%F0%80%80%AF", "overlong"],
  ["%F0%8F%BF%BF", "overlong"],
  ["%ED%A0%80", "a surrogate"],
  ["%ED%BF%BF", "a surrogate"],
  ["%F4%90%80%80", "beyond U+10FFFF"],
  ["%F5%80%80%80", "beyond U+10FFFF"],
  ["%FE", "never in UTF-8"],
  ["%FF", "never in UTF-8"],
])("%s is refused as UTF-8: %s", (path) => {
  expect(refusalOf(() => fromPath(path))).toBe("key must be valid UTF-8");
  expect(refusalOf(() => fromPath(`%C3%A9${path}`))).toBe("key must be valid UTF-8");
});

test("a raw byte beyond ASCII in a path is refused, even as part of valid UTF-8", () => {
  expect(refusalOf(() => fromPath("\u00c3\u00a9"))).toContain("percent-encoded");
  expect(refusalOf(() => fromPath("a\u0080"))).toContain("percent-encoded");
});

test("control characters are refused, and nothing else of the first 256 characters", () => {
  for (let code = 0; code < 256; code++) {
    const character = String.fromCharCode(code);
    const isControl = code < 0x20 || (code >= 0x7f && code <= 0x9f);
    const escaped = `\\u${code.toString(16).padStart(4, "0")}`;
    for (const set of [
      () => fromPath(`a${encodeURIComponent(character)}`),
      () => fromPath(`%C3%A9${encodeURIComponent(character)}`),
      () => fromJson(`a${escaped}`),
      () => fromJson(`é${escaped}`),
      () => fromText(`a${character}`),
    ]) {
      if (isControl) expect(refusalOf(set)).toContain("no control characters");
      else expect(set().endsWith(character)).toBe(true);
    }
  }
});

test("a raw control character in a path is refused", () => {
  for (const character of ["\0", "\n", "\x1f", "\x7f"]) {
    expect(refusalOf(() => fromPath(`a${character}`))).toContain("no control characters");
  }
});

test.each([
  ["ASCII", "k"],
  ["two bytes each", "é"],
  ["three bytes each", "€"],
  ["four bytes each", "😀"],
])("the longest key has 1,024 bytes: %s", (_, character) => {
  const fitting = character.repeat(Math.floor(1024 / Buffer.byteLength(character)));
  const full = fitting + "x".repeat(1024 - Buffer.byteLength(fitting));
  const escaped = full.replaceAll(
    character,
    [...Array(character.length).keys()]
      .map((i) => `\\u${character.charCodeAt(i).toString(16).padStart(4, "0")}`)
      .join(""),
  );
  expect(fromPath(encodeURIComponent(full))).toBe(full);
  expect(fromJson(full)).toBe(full);
  expect(fromJson(escaped)).toBe(full);
  expect(fromText(full)).toBe(full);
  for (const more of [`${full}x`, `x${full}`, full + character, full.repeat(3)]) {
    expect(refusalOf(() => fromPath(encodeURIComponent(more)))).toContain("at most 1024 bytes");
    expect(refusalOf(() => fromJson(more))).toContain("at most 1024 bytes");
    expect(refusalOf(() => fromText(more))).toContain("at most 1024 bytes");
  }
  expect(refusalOf(() => fromJson(`x${escaped}`))).toContain("at most 1024 bytes");
});

test("an empty key is refused", () => {
  expect(refusalOf(() => fromPath(""))).toContain("at least one character");
  expect(refusalOf(() => fromJson(""))).toContain("at least one character");
  expect(refusalOf(() => fromText(""))).toContain("at least one character");
});

test.each([
  ["a/b", "a/b"],
  ["é😀", "é😀"],
  ['\\"\\\\\\/', '"\\/'],
  ["\\u0041\\u00e9\\u20AC", "Aé€"],
  ["\\ud83d\\ude00", "😀"],
  ["a\\uDBFF\\uDFFFb", "a\u{10ffff}b"],
  ["\\ud800\\udc00", "\u{10000}"],
  ["%2F", "%2F"],
  ["\\ufeff", "\ufeff"],
])("the JSON string %s holds the key %j", (contents, key) => {
  expect(fromJson(contents)).toBe(key);
  expect(KEY.length).toBe(Buffer.byteLength(key));
});

test.each([
  "\\ud800",
  "\\udc00",
  "a\\ud800b",
  "\\ud800\\n",
  "\\ud800\\u0041",
  "\\ud800\\ud800",
  "\\udc00\\ud800",
  "\\ud800\\ud83d\\ude00",
])("the lone surrogate in the JSON string %s is refused", (contents) => {
  expect(refusalOf(() => fromJson(contents))).toContain("surrogates in pairs");
});

test("a lone surrogate in text is refused", () => {
  expect(refusalOf(() => fromText("a\ud800"))).toContain("surrogates in pairs");
});

test.each(["\\b", "\\f", "\\n", "\\r", "\\t"])("the control character %s in a JSON string is refused", (contents) => {
  expect(refusalOf(() => fromJson(contents))).toContain("no control characters");
});

test("random text is a key by every way in, or by none", () => {
  const unit = fc.oneof(
    fc.constantFrom("a", "/", "%", "+", '"', "\\", "é", "\ud800", "\udc00"),
    fc.string({ unit: "binary", maxLength: 1 }),
  );
  fc.assert(
    fc.property(fc.array(unit, { maxLength: 20 }), (units) => {
      const text = units.join("");
      const ways = [() => fromText(text), () => fromJson(JSON.stringify(text).slice(1, -1))];
      if (text.isWellFormed()) ways.push(() => fromPath(encodeURIComponent(text)));
      for (const way of ways) {
        if (isKey(text)) expect(way()).toBe(text);
        else refusalOf(way);
      }
    }),
    { numRuns: 3_000 },
  );
});

test("random paths decode as decodeURIComponent decodes them, and are refused where it throws", () => {
  const bytes = fc.array(
    fc.constantFrom(0x41, 0x7f, 0x80, 0x9f, 0xa0, 0xbf, 0xc2, 0xe0, 0xed, 0xef, 0xf0, 0xf4, 0xf5),
    { maxLength: 4 },
  );
  const piece = fc.oneof(
    fc.constantFrom("a", "/", "..", "+", "%", "%4", "%2F", "%C3%A9", "%f0%9f%98%80", "%zz"),
    bytes.map(hexOf),
  );
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 6 }), (pieces) => {
      const path = pieces.join("");
      if (throws(() => decodeURIComponent(path)) || !isKey(decodeURIComponent(path))) refusalOf(() => fromPath(path));
      else expect(fromPath(path)).toBe(decodeURIComponent(path));
    }),
    { numRuns: 5_000 },
  );
});

test("every lead and second byte is accepted as a decoder of UTF-8 accepts it", () => {
  const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  for (let lead = 0x80; lead <= 0xff; lead++) {
    for (let second = 0x70; second <= 0xd0; second++) {
      for (const tail of [[], [0x80], [0xbf, 0xbf]]) {
        const bytes = [lead, second, ...tail];
        const valid = !throws(() => decoder.decode(Buffer.from(bytes))) && isKey(decoder.decode(Buffer.from(bytes)));
        expect(throws(() => fromPath(hexOf(bytes)))).toBe(!valid);
      }
    }
  }
});
