/**
 * A strict scanner of JSON text (RFC 8259) over bytes. It validates the text and reports the positions of the members
 * of the top-level object; it builds no values, so that a value of 16 MiB is stored as it was sent and creates no
 * garbage.
 */
import {
  byteAt,
  hasBytesAt,
  isDigit,
  JsonError,
  requireUtf8,
  skipColon,
  skipName,
  skipSpace,
  skipValue,
} from "../../model/json-grammar.ts";

/** Reads the value that starts at `start` instead of the scanner; returns its end. Throws `JsonError`. */
export interface ValueReader {
  read(buffer: Buffer, start: number, end: number): number;
}

/** Position of a raw JSON value: `buffer[start .. end)`, without surrounding white space; -1 and -1 = absent. */
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
const ZERO = 0x30;
const BACKSLASH = 0x5c;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
const LOWER_K = 0x6b;

const BYTE_ORDER_MARK = Buffer.from("\ufeff");

/** The longest spelling of a known name: `operations` with each letter as an escape like `\u006f`. */
const MAX_WRITTEN_NAME_BYTES = 10 * 6;

/** Finds the known members of a JSON object. Reused: `scan` discards the results of the previous scan. */
export class JsonObjectScanner {
  /** Number of members, known or not, including duplicates. */
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

  /** `operationsReader` reads the values of members named `operations`, so that they are scanned only once. */
  constructor(private readonly operationsReader: ValueReader | null = null) {}

  /**
   * Scans one JSON object in UTF-8, with optional white space around it. The last of several members with the same name
   * counts. Throws `JsonError`; the results are then invalid.
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

  /** Scans the object whose `{` is at `start`; returns its end. Does not validate UTF-8. Throws `JsonError`. */
  scanAt(buffer: Buffer, start: number, end: number): number {
    this.forget();
    const at = skipSpace(buffer, start + 1, end);
    return byteAt(buffer, at, end) === CLOSE_BRACE ? at + 1 : this.scanMembers(buffer, at, end) + 1;
  }

  private scanObject(buffer: Buffer, start: number, end: number): void {
    const at = skipSpace(buffer, start, end);
    if (byteAt(buffer, at, end) !== OPEN_BRACE) throw notAnObject(buffer, at, end);
    const after = skipSpace(buffer, this.scanAt(buffer, at, end), end);
    if (after < end) throw new JsonError(after, "nothing after the object");
  }

  private forget(): void {
    this.memberCount = 0;
    for (const member of this.all) {
      member.start = -1;
      member.end = -1;
    }
  }

  /** @returns the position of the closing brace */
  private scanMembers(buffer: Buffer, start: number, end: number): number {
    let at = start;
    for (;;) {
      const nameStart = at;
      const nameEnd = skipName(buffer, at, end);
      const valueStart = skipColon(buffer, nameEnd, end);
      const member = this.memberNamed(buffer, nameStart + 1, nameEnd - 1);
      const reader = member === this.members.operations ? this.operationsReader : null;
      const valueEnd = reader === null ? skipValue(buffer, valueStart, end) : reader.read(buffer, valueStart, end);
      this.memberCount++;
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

  /** `start` and `end` delimit the name between its quotes. */
  private memberNamed(buffer: Buffer, start: number, end: number): Member | null {
    const likely = this.memberLike(end - start, buffer[start]);
    if (likely !== null && hasBytesAt(buffer, start, likely.nameBytes)) return likely;
    if (end - start > MAX_WRITTEN_NAME_BYTES || !hasBackslash(buffer, start, end)) return null;
    const name: unknown = JSON.parse(buffer.toString("utf8", start - 1, end + 1));
    return this.all.find((member) => member.name === name) ?? null;
  }

  /** The only known member whose name can have this length and this first byte. */
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

export function isPresent(range: JsonRange): boolean {
  return range.start >= 0;
}

export function isString(buffer: Buffer, range: JsonRange): boolean {
  return byteAt(buffer, range.start, range.end) === QUOTE;
}

/** The safe integer written only in digits; null for anything else, such as `1.0` and `1e3`. */
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

function hasBackslash(buffer: Buffer, start: number, end: number): boolean {
  for (let at = start; at < end; at++) if (buffer[at] === BACKSLASH) return true;
  return false;
}

function notAnObject(buffer: Buffer, at: number, end: number): JsonError {
  const hasMark = byteAt(buffer, at, end) === 0xef && hasBytesAt(buffer, at, BYTE_ORDER_MARK);
  const message = hasMark ? "body must be JSON without a byte order mark" : "body must be a JSON object";
  return new JsonError(at, "a JSON object", message);
}
