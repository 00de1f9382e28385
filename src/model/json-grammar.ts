/**
 * The grammar of JSON text (RFC 8259), over bytes: validates a value and says where it ends. It builds nothing.
 */

import { isUtf8 } from "node:buffer";
import { skipPlainText } from "./plain-text.ts";

/** The deepest nesting of arrays and objects that is read. A level costs one bit. */
export const MAX_JSON_DEPTH = 1_000_000;

/** Text that is not JSON, or not the JSON that is wanted. */
export class JsonError extends Error {
  readonly code = "ERR_INVALID_JSON";
  /**
   * @param offset of the byte at fault; from the start of the text where `JsonObjectScanner.scan` throws, else from the
   *   start of the buffer
   * @param expected what should have been there
   * @param plainMessage says it without an offset, where that is clearer
   */
  constructor(
    readonly offset: number,
    readonly expected: string,
    private readonly plainMessage: string | null = null,
  ) {
    super(plainMessage ?? `body must be valid JSON: expected ${expected} at byte ${offset}`);
  }

  /** The same fault, counted from the start of the text. */
  countedFrom(start: number): JsonError {
    return new JsonError(this.offset - start, this.expected, this.plainMessage);
  }
}

/** So much of a string is looked at byte by byte: to begin with words costs about as much. */
const SHORT_TEXT_BYTES = 128;

/** Up to so many bytes a look at each of them costs about what a view for `isUtf8` does, and leaves no garbage. */
const SHORT_ASCII_BYTES = 512;

const QUOTE = 0x22;
const COMMA = 0x2c;
const MINUS = 0x2d;
const POINT = 0x2e;
const ZERO = 0x30;
const COLON = 0x3a;
const OPEN_BRACKET = 0x5b;
const BACKSLASH = 0x5c;
const CLOSE_BRACKET = 0x5d;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
const LOWER_E = 0x65;
const LOWER_N = 0x6e;
const LOWER_U = 0x75;

const CONTROL_CHARACTER = "control characters in strings written as escapes, such as \\n";

const FALSE = Buffer.from("false");
const NULL = Buffer.from("null");
const TRUE = Buffer.from("true");
/** 1 for what may follow a backslash, besides `u` and four digits. */
const SIMPLE_ESCAPES = new Uint8Array(256);
for (const byte of Buffer.from('"\\/bfnrt')) SIMPLE_ESCAPES[byte] = 1;

/**
 * Validates the one JSON value that begins at `start`; not its UTF-8. Throws `JsonError`.
 *
 * What is open is kept as one bit per level (1 = object): the 32 innermost in a number, the others in a list of such
 * numbers, so that only text that is nested deeper makes garbage, and none can exhaust the stack.
 *
 * @returns the index after it
 */
export function skipValue(buffer: Buffer, start: number, end: number): number {
  let at = start;
  let depth = 0;
  let kinds = 0;
  let outerKinds: number[] | null = null;
  for (;;) {
    const byte = byteAt(buffer, at, end);
    if (byte !== OPEN_BRACE && byte !== OPEN_BRACKET) at = skipScalar(buffer, at, end, byte);
    else {
      const isObject = byte === OPEN_BRACE;
      const inside = skipSpace(buffer, at + 1, end);
      if (byteAt(buffer, inside, end) === (isObject ? CLOSE_BRACE : CLOSE_BRACKET)) at = inside + 1;
      else {
        if (depth === MAX_JSON_DEPTH) throw new JsonError(at, `at most ${MAX_JSON_DEPTH} nested arrays and objects`);
        if (depth > 0 && depth % 32 === 0) {
          outerKinds ??= [];
          outerKinds.push(kinds);
        }
        depth++;
        kinds = (kinds << 1) | (isObject ? 1 : 0);
        at = isObject ? skipColon(buffer, skipName(buffer, inside, end), end) : inside;
        continue;
      }
    }
    for (;;) {
      if (depth === 0) return at;
      at = skipSpace(buffer, at, end);
      const inObject = (kinds & 1) === 1;
      const next = byteAt(buffer, at, end);
      if (next === COMMA) {
        at = skipSpace(buffer, at + 1, end);
        if (inObject) at = skipColon(buffer, skipName(buffer, at, end), end);
        break;
      }
      if (next !== (inObject ? CLOSE_BRACE : CLOSE_BRACKET))
        throw new JsonError(at, inObject ? "',' or '}'" : "',' or ']'");
      at++;
      depth--;
      kinds = depth > 0 && depth % 32 === 0 ? (outerKinds?.pop() ?? 0) : kinds >>> 1;
    }
  }
}

/** True where the whole range is one JSON value in UTF-8, with optional white space around it. */
export function isJson(buffer: Buffer, start: number, end: number): boolean {
  try {
    requireUtf8(buffer, start, end);
    return skipSpace(buffer, skipValue(buffer, skipSpace(buffer, start, end), end), end) === end;
  } catch (error) {
    if (error instanceof JsonError) return false;
    throw error;
  }
}

/** Throws `JsonError` where the range is not UTF-8. */
export function requireUtf8(buffer: Buffer, start: number, end: number): void {
  const isWhole = start === 0 && end === buffer.length;
  if (!isWhole && end - start <= SHORT_ASCII_BYTES && isAscii(buffer, start, end)) return;
  if (!isUtf8(isWhole ? buffer : buffer.subarray(start, end))) {
    throw new JsonError(start, "UTF-8", "body must be JSON in UTF-8: it has bytes that are not");
  }
}

function isAscii(buffer: Buffer, start: number, end: number): boolean {
  let seen = 0;
  for (let at = start; at < end; at++) seen |= buffer[at] ?? 0;
  return seen < 0x80;
}

function skipScalar(buffer: Buffer, at: number, end: number, byte: number): number {
  switch (byte) {
    case QUOTE:
      return skipString(buffer, at, end);
    case 0x74:
      return skipLiteral(buffer, at, end, TRUE);
    case 0x66:
      return skipLiteral(buffer, at, end, FALSE);
    case LOWER_N:
      return skipLiteral(buffer, at, end, NULL);
    default:
      return skipNumber(buffer, at, end);
  }
}

function skipLiteral(buffer: Buffer, at: number, end: number, literal: Buffer): number {
  if (at + literal.length > end || !hasBytesAt(buffer, at, literal)) throw new JsonError(at, "a value");
  return at + literal.length;
}

function skipNumber(buffer: Buffer, start: number, end: number): number {
  let at = byteAt(buffer, start, end) === MINUS ? start + 1 : start;
  const first = byteAt(buffer, at, end);
  if (first === ZERO) at++;
  else if (isDigit(first)) at = skipDigits(buffer, at, end);
  else throw new JsonError(at, at === start ? "a value" : "a digit");
  if (byteAt(buffer, at, end) === POINT) at = skipDigits(buffer, at + 1, end);
  if ((byteAt(buffer, at, end) | 0x20) === LOWER_E) {
    const sign = byteAt(buffer, at + 1, end);
    at = skipDigits(buffer, sign === MINUS || sign === 0x2b ? at + 2 : at + 1, end);
  }
  return at;
}

function skipDigits(buffer: Buffer, start: number, end: number): number {
  let at = start;
  while (at < end && isDigit(buffer[at] ?? 0)) at++;
  if (at === start) throw new JsonError(at, "a digit");
  return at;
}

export function skipName(buffer: Buffer, at: number, end: number): number {
  if (byteAt(buffer, at, end) !== QUOTE) throw new JsonError(at, "a member name in double quotes");
  return skipString(buffer, at, end);
}

/** @returns where the value after the colon begins */
export function skipColon(buffer: Buffer, start: number, end: number): number {
  const at = skipSpace(buffer, start, end);
  if (byteAt(buffer, at, end) !== COLON) throw new JsonError(at, "':'");
  return skipSpace(buffer, at + 1, end);
}

function skipString(buffer: Buffer, start: number, end: number): number {
  let at = start + 1;
  while (at < end) {
    const shortEnd = Math.min(end, at + SHORT_TEXT_BYTES);
    while (at < shortEnd) {
      const byte = buffer[at++] ?? 0;
      if (byte > BACKSLASH) continue;
      if (byte === QUOTE) return at;
      if (byte === BACKSLASH) at = skipEscape(buffer, at, end);
      else if (byte < 0x20) throw new JsonError(at - 1, CONTROL_CHARACTER);
    }
    at = skipPlainText(buffer, at, end);
  }
  throw new JsonError(end, "the double quote that ends the string");
}

function skipEscape(buffer: Buffer, at: number, end: number): number {
  const byte = byteAt(buffer, at, end);
  if (byte !== LOWER_U) {
    if (byte < 0 || SIMPLE_ESCAPES[byte] !== 1) throw new JsonError(at, 'one of "\\/bfnrtu after the backslash');
    return at + 1;
  }
  for (let digit = at + 1; digit <= at + 4; digit++) {
    if (hexDigit(byteAt(buffer, digit, end)) < 0) throw new JsonError(digit, "four hexadecimal digits after \\u");
  }
  return at + 5;
}

export function skipSpace(buffer: Buffer, start: number, end: number): number {
  let at = start;
  while (at < end) {
    const byte = buffer[at] ?? 0;
    if (byte > 0x20 || (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09)) return at;
    at++;
  }
  return at;
}

/** -1 = past the end. */
export function byteAt(buffer: Buffer, at: number, end: number): number {
  return at < end ? (buffer[at] ?? -1) : -1;
}

export function isDigit(byte: number): boolean {
  return byte >= ZERO && byte <= 0x39;
}

export function hasBytesAt(buffer: Buffer, start: number, bytes: Buffer): boolean {
  for (let index = 0; index < bytes.length; index++) {
    if (buffer[start + index] !== bytes[index]) return false;
  }
  return true;
}

/** The value of a hexadecimal digit, or -1. */
export function hexDigit(byte: number): number {
  if (isDigit(byte)) return byte - ZERO;
  const lower = byte | 0x20;
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : -1;
}
