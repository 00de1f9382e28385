import { hexDigit } from "../../model/json-grammar.ts";
import { type Key, MAX_KEY_BYTES } from "../../model/key.ts";

/** A key is invalid. */
export class BadKeyError extends Error {
  readonly code = "ERR_INVALID_KEY";
}

const PERCENT = 0x25;
const BACKSLASH = 0x5c;
const LOWER_U = 0x75;

/** Room for one more character than the maximum, because the length is checked after the write. */
const SLACK_BYTES = 4;

const TOO_LONG = `key must have at most ${MAX_KEY_BYTES} bytes of UTF-8`;
const EMPTY = "key must have at least one character";
const CONTROL = "key must have no control characters (U+0000 to U+001F, U+007F to U+009F)";
const NOT_UTF8 = "key must be valid UTF-8";
const BAD_ESCAPE =
  "key must be percent-encoded: write % itself as %25, and other bytes as % and two hexadecimal digits";
const RAW_BYTE = "key must be percent-encoded: write characters beyond ASCII as the bytes of their UTF-8, each %XX";
const LONE_SURROGATE = "key must be valid Unicode: write surrogates in pairs";

/**
 * The key of the current request, reused from request to request. All ways to set it accept the same keys: 1 to
 * `MAX_KEY_BYTES` bytes of valid UTF-8 without control characters; for others they throw `BadKeyError` and leave the
 * key empty.
 */
export class KeyBuffer implements Key {
  readonly bytes: Buffer = Buffer.alloc(MAX_KEY_BYTES + SLACK_BYTES);
  length = 0;

  /** Sets the key from a path: `buffer[start .. end)`, percent-encoded. `/`, `..`, `//` and `+` are taken literally. */
  decodePath(buffer: Buffer, start: number, end: number): void {
    const { bytes } = this;
    this.length = 0;
    let length = 0;
    let at = start;
    let seen = 0;
    while (at < end) {
      if (length === MAX_KEY_BYTES) throw new BadKeyError(TOO_LONG);
      let byte = buffer[at++] ?? 0;
      if (byte === PERCENT) {
        if (at + 2 > end) throw new BadKeyError(BAD_ESCAPE);
        byte = hexByte(buffer, at);
        if (byte < 0) throw new BadKeyError(BAD_ESCAPE);
        at += 2;
      } else if (byte >= 0x80) throw new BadKeyError(RAW_BYTE);
      seen |= byte;
      bytes[length++] = byte;
    }
    this.accept(length, seen);
  }

  /** Sets the key from the content of a valid JSON string: `buffer[start .. end)`, without the quotes. */
  setJsonString(buffer: Buffer, start: number, end: number): void {
    const { bytes } = this;
    this.length = 0;
    let length = 0;
    let at = start;
    let seen = 0;
    while (at < end) {
      if (length >= MAX_KEY_BYTES) throw new BadKeyError(TOO_LONG);
      const byte = buffer[at] ?? 0;
      if (byte !== BACKSLASH) {
        seen |= byte;
        bytes[length++] = byte;
        at++;
        continue;
      }
      const codePoint = escapedCodePoint(buffer, at, end);
      at += escapeLength(buffer, at, codePoint);
      seen |= codePoint;
      length = putCodePoint(bytes, length, codePoint);
    }
    this.accept(length, seen);
  }

  setText(text: string): void {
    this.length = 0;
    if (text.length > MAX_KEY_BYTES) throw new BadKeyError(TOO_LONG);
    if (!text.isWellFormed()) throw new BadKeyError(LONE_SURROGATE);
    this.accept(this.bytes.utf8Write(text, 0), 0x80);
  }

  /** A copy in its own buffer, which stays valid when this one is reused. */
  copy(): KeyBuffer {
    const copy = new KeyBuffer();
    copy.copyFrom(this);
    return copy;
  }

  copyFrom(other: KeyBuffer): void {
    other.bytes.copy(this.bytes, 0, 0, other.length);
    this.length = other.length;
  }

  toString(): string {
    return this.bytes.toString("utf8", 0, this.length);
  }

  /** @param seen bitwise or of all bytes or code points: at least 0x80 if the key may contain more than ASCII */
  private accept(length: number, seen: number): void {
    if (length === 0) throw new BadKeyError(EMPTY);
    if (length > MAX_KEY_BYTES) throw new BadKeyError(TOO_LONG);
    const problem = seen < 0x80 ? problemOfAscii(this.bytes, length) : problemOfUtf8(this.bytes, length);
    if (problem !== null) throw new BadKeyError(problem);
    this.length = length;
  }
}

function hexByte(buffer: Buffer, at: number): number {
  const high = hexDigit(buffer[at] ?? 0);
  const low = hexDigit(buffer[at + 1] ?? 0);
  return high < 0 || low < 0 ? -1 : high * 16 + low;
}

function problemOfAscii(bytes: Buffer, length: number): string | null {
  for (let at = 0; at < length; at++) {
    const byte = bytes[at] ?? 0;
    if (byte < 0x20 || byte === 0x7f) return CONTROL;
  }
  return null;
}

/** The well-formed sequences of RFC 3629 section 4. */
function problemOfUtf8(bytes: Buffer, length: number): string | null {
  let at = 0;
  while (at < length) {
    const lead = bytes[at++] ?? 0;
    if (lead < 0x80) {
      if (lead < 0x20 || lead === 0x7f) return CONTROL;
      continue;
    }
    if (lead < 0xc2 || lead > 0xf4) return NOT_UTF8;
    const following = lead < 0xe0 ? 1 : lead < 0xf0 ? 2 : 3;
    if (at + following > length) return NOT_UTF8;
    let codePoint = lead & (0x3f >> following);
    for (const last = at + following; at < last; at++) {
      const byte = bytes[at] ?? 0;
      if ((byte & 0xc0) !== 0x80) return NOT_UTF8;
      codePoint = (codePoint << 6) | (byte & 0x3f);
    }
    if (following === 1 && codePoint < 0xa0) return CONTROL;
    if (following === 2 && (codePoint < 0x800 || isSurrogate(codePoint))) return NOT_UTF8;
    if (following === 3 && (codePoint < 0x10000 || codePoint > 0x10ffff)) return NOT_UTF8;
  }
  return null;
}

/** The code point of the escape whose backslash is at `at`; for a surrogate pair, that of the pair. */
function escapedCodePoint(buffer: Buffer, at: number, end: number): number {
  const letter = buffer[at + 1] ?? 0;
  if (letter !== LOWER_U) return simpleEscape(letter);
  const unit = hexUnit(buffer, at + 2);
  if (!isSurrogate(unit)) return unit;
  const isPair = unit < 0xdc00 && at + 12 <= end && buffer[at + 6] === BACKSLASH && buffer[at + 7] === LOWER_U;
  const second = isPair ? hexUnit(buffer, at + 8) : 0;
  if (second < 0xdc00 || !isSurrogate(second)) throw new BadKeyError(LONE_SURROGATE);
  return 0x10000 + ((unit - 0xd800) << 10) + (second - 0xdc00);
}

/** The length of `\n`, `\u00e9`, or a pair: a code point above U+FFFF takes two escapes. */
function escapeLength(buffer: Buffer, at: number, codePoint: number): number {
  if (buffer[at + 1] !== LOWER_U) return 2;
  return codePoint > 0xffff ? 12 : 6;
}

function simpleEscape(letter: number): number {
  switch (letter) {
    case 0x62:
      return 0x08;
    case 0x66:
      return 0x0c;
    case 0x6e:
      return 0x0a;
    case 0x72:
      return 0x0d;
    case 0x74:
      return 0x09;
    default:
      return letter;
  }
}

function hexUnit(buffer: Buffer, at: number): number {
  return hexByte(buffer, at) * 256 + hexByte(buffer, at + 2);
}

function isSurrogate(codePoint: number): boolean {
  return codePoint >= 0xd800 && codePoint <= 0xdfff;
}

/** Writes at most 4 bytes, for which there is room after `MAX_KEY_BYTES` - 1 others. @returns the index after them */
function putCodePoint(bytes: Buffer, start: number, codePoint: number): number {
  let at = start;
  if (codePoint < 0x80) bytes[at++] = codePoint;
  else {
    if (codePoint < 0x800) bytes[at++] = 0xc0 | (codePoint >> 6);
    else {
      if (codePoint < 0x10000) bytes[at++] = 0xe0 | (codePoint >> 12);
      else {
        bytes[at++] = 0xf0 | (codePoint >> 18);
        bytes[at++] = 0x80 | ((codePoint >> 12) & 0x3f);
      }
      bytes[at++] = 0x80 | ((codePoint >> 6) & 0x3f);
    }
    bytes[at++] = 0x80 | (codePoint & 0x3f);
  }
  return at;
}
