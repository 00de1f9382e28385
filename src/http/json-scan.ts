/**
 * A strict scanner of JSON text (RFC 8259) over bytes. It validates everything and says where the members of the
 * top-level object are; it builds no values, so that a value of 16 MiB is kept as it was sent and costs no garbage.
 */
import { isUtf8 } from "node:buffer";

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

/** Where a raw JSON value is: `buffer[start .. end)`, without white space around it; -1 and -1 = absent. */
export interface JsonRange {
  readonly start: number;
  readonly end: number;
}

class Member implements JsonRange {
  start = -1;
  end = -1;
  readonly nameBytes: Buffer;
  constructor(readonly name: string) {
    this.nameBytes = Buffer.from(name);
  }
}

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
const LOWER_K = 0x6b;
const LOWER_N = 0x6e;
const LOWER_U = 0x75;

const FALSE = Buffer.from("false");
const NULL = Buffer.from("null");
const TRUE = Buffer.from("true");
const BYTE_ORDER_MARK = Buffer.from("\ufeff");
/** 1 for what may follow a backslash, besides `u` and four digits. */
const SIMPLE_ESCAPES = new Uint8Array(256);
for (const byte of Buffer.from('"\\/bfnrt')) SIMPLE_ESCAPES[byte] = 1;

/** Up to so many bytes a look at each of them costs about what a view for `isUtf8` does, and leaves no garbage. */
const SHORT_TEXT_BYTES = 512;

/** The longest way to write a known name: `operations`, each letter as an escape like `\u006f`. */
const MAX_WRITTEN_NAME_BYTES = 10 * 6;

/** Finds the members of a JSON object that the API knows. Reused: `scan` forgets what the scan before it found. */
export class JsonObjectScanner {
  /** How many members there are, known or not, duplicates included. */
  memberCount = 0;
  private readonly members = {
    key: new Member("key"),
    value: new Member("value"),
    ttl: new Member("ttl"),
    tags: new Member("tags"),
    increment: new Member("increment"),
    op: new Member("op"),
    operations: new Member("operations"),
  };
  readonly key: JsonRange = this.members.key;
  readonly value: JsonRange = this.members.value;
  readonly ttl: JsonRange = this.members.ttl;
  readonly tags: JsonRange = this.members.tags;
  readonly increment: JsonRange = this.members.increment;
  readonly op: JsonRange = this.members.op;
  readonly operations: JsonRange = this.members.operations;
  private readonly all = Object.values(this.members);

  /**
   * Reads one JSON object in UTF-8, with optional white space around it. Of members with the same name the last counts.
   * Throws `JsonError`; what was found until then means nothing.
   */
  scan(buffer: Buffer, start: number, end: number): void {
    this.forget();
    try {
      requireUtf8(buffer, start, end);
      this.scanObject(buffer, start, end);
    } catch (error) {
      if (error instanceof JsonError) throw error.countedFrom(start);
      throw error;
    }
  }

  /** Reads the object that starts at `start`, in text that was validated before; gives where it ends. */
  scanValid(buffer: Buffer, start: number, end: number): number {
    this.forget();
    const at = skipSpace(buffer, start + 1, end);
    return byteAt(buffer, at, end) === CLOSE_BRACE ? at + 1 : this.scanMembers(buffer, at, end) + 1;
  }

  private scanObject(buffer: Buffer, start: number, end: number): void {
    const at = skipSpace(buffer, start, end);
    if (byteAt(buffer, at, end) !== OPEN_BRACE) throw notAnObject(buffer, at, end);
    const after = skipSpace(buffer, this.scanValid(buffer, at, end), end);
    if (after < end) throw new JsonError(after, "nothing after the object");
  }

  private forget(): void {
    this.memberCount = 0;
    for (const member of this.all) {
      member.start = -1;
      member.end = -1;
    }
  }

  /** @returns where the closing brace is */
  private scanMembers(buffer: Buffer, start: number, end: number): number {
    let at = start;
    for (;;) {
      const nameStart = at;
      const nameEnd = skipName(buffer, at, end);
      const valueStart = skipColon(buffer, nameEnd, end);
      const valueEnd = skipValue(buffer, valueStart, end);
      this.memberCount++;
      const member = this.memberNamed(buffer, nameStart + 1, nameEnd - 1);
      if (member !== null) {
        member.start = valueStart;
        member.end = valueEnd;
      }
      at = skipSpace(buffer, valueEnd, end);
      const byte = byteAt(buffer, at, end);
      if (byte === CLOSE_BRACE) return at;
      if (byte !== COMMA) throw new JsonError(at, "',' or '}'");
      at = skipSpace(buffer, at + 1, end);
    }
  }

  /** `start` and `end` are those of the name between its quotes. */
  private memberNamed(buffer: Buffer, start: number, end: number): Member | null {
    const likely = this.memberLike(end - start, buffer[start]);
    if (likely !== null && hasBytesAt(buffer, start, likely.nameBytes)) return likely;
    if (end - start > MAX_WRITTEN_NAME_BYTES || !hasBackslash(buffer, start, end)) return null;
    const name: unknown = JSON.parse(buffer.toString("utf8", start - 1, end + 1));
    return this.all.find((member) => member.name === name) ?? null;
  }

  /** The only member whose name can have this length and this first byte. */
  private memberLike(length: number, firstByte: number | undefined): Member | null {
    const { members } = this;
    switch (length) {
      case 2:
        return members.op;
      case 3:
        return firstByte === LOWER_K ? members.key : members.ttl;
      case 4:
        return members.tags;
      case 5:
        return members.value;
      case 9:
        return members.increment;
      case 10:
        return members.operations;
      default:
        return null;
    }
  }
}

/**
 * Walks over the elements of an array that was validated before: `while (elements.next(scanner)) …`. Reused by `open`.
 */
export class JsonElements implements JsonRange {
  /** The raw element that `next` found. */
  start = -1;
  end = -1;
  private at = 0;
  private arrayEnd = 0;
  private buffer: Buffer | null = null;

  /** Starts over, with the array `buffer[start .. end)`. Throws `JsonError` if that is no array. */
  open(buffer: Buffer, start: number, end: number): void {
    if (byteAt(buffer, start, end) !== OPEN_BRACKET) throw new JsonError(start, "an array");
    this.buffer = buffer;
    this.arrayEnd = end;
    this.at = skipSpace(buffer, start + 1, end);
    this.start = this.end = -1;
  }

  /**
   * Finds the next element and, if it is an object, has it read by the scanner. False = there are no more, and the buffer
   * is let go.
   */
  next(scanner: JsonObjectScanner): boolean {
    const { buffer, arrayEnd } = this;
    if (buffer === null) return false;
    if (byteAt(buffer, this.at, arrayEnd) === CLOSE_BRACKET) {
      this.buffer = null;
      this.start = this.end = -1;
      return false;
    }
    this.start = this.at;
    const isAnObject = byteAt(buffer, this.at, arrayEnd) === OPEN_BRACE;
    this.end = isAnObject ? scanner.scanValid(buffer, this.at, arrayEnd) : skipValue(buffer, this.at, arrayEnd);
    const after = skipSpace(buffer, this.end, arrayEnd);
    this.at = byteAt(buffer, after, arrayEnd) === COMMA ? skipSpace(buffer, after + 1, arrayEnd) : after;
    return true;
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
  if (!isWhole && end - start <= SHORT_TEXT_BYTES && isAscii(buffer, start, end)) return;
  if (!isUtf8(isWhole ? buffer : buffer.subarray(start, end))) {
    throw new JsonError(start, "UTF-8", "body must be JSON in UTF-8: it has bytes that are not");
  }
}

export function isPresent(range: JsonRange): boolean {
  return range.start >= 0;
}

export function isNull(buffer: Buffer, range: JsonRange): boolean {
  return byteAt(buffer, range.start, range.end) === LOWER_N;
}

export function isString(buffer: Buffer, range: JsonRange): boolean {
  return byteAt(buffer, range.start, range.end) === QUOTE;
}

export function isArray(buffer: Buffer, range: JsonRange): boolean {
  return byteAt(buffer, range.start, range.end) === OPEN_BRACKET;
}

export function isObject(buffer: Buffer, range: JsonRange): boolean {
  return byteAt(buffer, range.start, range.end) === OPEN_BRACE;
}

/** The safe integer that is written in digits alone, or null: `1.0` and `1e3` are none. */
export function readSafeInteger(buffer: Buffer, range: JsonRange): number | null {
  const negative = byteAt(buffer, range.start, range.end) === MINUS;
  let at = negative ? range.start + 1 : range.start;
  let value = 0;
  if (range.start < 0 || at >= range.end) return null;
  for (; at < range.end; at++) {
    const byte = byteAt(buffer, at, range.end);
    if (!isDigit(byte)) return null;
    value = value * 10 + (byte - ZERO);
    if (value > Number.MAX_SAFE_INTEGER) return null;
  }
  return negative ? 0 - value : value;
}

/** The value of a hexadecimal digit, or -1. */
export function hexDigit(byte: number): number {
  if (isDigit(byte)) return byte - ZERO;
  const lower = byte | 0x20;
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : -1;
}

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

function skipName(buffer: Buffer, at: number, end: number): number {
  if (byteAt(buffer, at, end) !== QUOTE) throw new JsonError(at, "a member name in double quotes");
  return skipString(buffer, at, end);
}

/** @returns where the value after the colon begins */
function skipColon(buffer: Buffer, start: number, end: number): number {
  const at = skipSpace(buffer, start, end);
  if (byteAt(buffer, at, end) !== COLON) throw new JsonError(at, "':'");
  return skipSpace(buffer, at + 1, end);
}

function skipString(buffer: Buffer, start: number, end: number): number {
  let at = start + 1;
  while (at < end) {
    const byte = buffer[at++] ?? 0;
    if (byte > BACKSLASH) continue;
    if (byte === QUOTE) return at;
    if (byte === BACKSLASH) at = skipEscape(buffer, at, end);
    else if (byte < 0x20) throw new JsonError(at - 1, "control characters in strings written as escapes, such as \\n");
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

function skipSpace(buffer: Buffer, start: number, end: number): number {
  let at = start;
  while (at < end) {
    const byte = buffer[at] ?? 0;
    if (byte > 0x20 || (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09)) return at;
    at++;
  }
  return at;
}

/** -1 = past the end. */
function byteAt(buffer: Buffer, at: number, end: number): number {
  return at < end ? (buffer[at] ?? -1) : -1;
}

function isDigit(byte: number): boolean {
  return byte >= ZERO && byte <= 0x39;
}

function isAscii(buffer: Buffer, start: number, end: number): boolean {
  let seen = 0;
  for (let at = start; at < end; at++) seen |= buffer[at] ?? 0;
  return seen < 0x80;
}

function hasBytesAt(buffer: Buffer, start: number, bytes: Buffer): boolean {
  for (let index = 0; index < bytes.length; index++) {
    if (buffer[start + index] !== bytes[index]) return false;
  }
  return true;
}

function hasBackslash(buffer: Buffer, start: number, end: number): boolean {
  for (let at = start; at < end; at++) if (buffer[at] === BACKSLASH) return true;
  return false;
}

function notAnObject(buffer: Buffer, at: number, end: number): JsonError {
  const hasMark = byteAt(buffer, at, end) === 0xef && hasBytesAt(buffer, at, BYTE_ORDER_MARK);
  const message = hasMark ? "body must be JSON without a byte order mark" : "body must be a JSON object";
  return new JsonError(at, "a JSON object", message);
}
