import type { BodyBuffer } from "./body-buffer.ts";
import { BYTE_CLASS, FIELD_VALUE, TOKEN } from "./byte-class.ts";
import type { HttpLimits } from "./limits.ts";
import { BODY_TOO_LARGE, badRequest, HEADERS_TOO_LARGE, OVERLOADED, type Refusal } from "./refusal.ts";

const LF = 0x0a;
const CR = 0x0d;
const TAB = 0x09;
const SPACE = 0x20;
const QUOTE = 0x22;
const COLON = 0x3a;
const SEMICOLON = 0x3b;
const EQUALS = 0x3d;
const BACKSLASH = 0x5c;

/** Eight hexadecimal digits without leading zeros are up to 4 GiB: more than any limit, and still exact. */
const MAX_SIZE_DIGITS = 8;
/** Size, extensions and CRLF of one chunk. Extensions have no effect: they are validated and dropped. */
const MAX_SIZE_LINE_BYTES = 256;

const BAD_CHUNK = badRequest("send each chunk as its size in hexadecimal digits, CRLF, its bytes, CRLF");
const BAD_TRAILER = badRequest("send trailers as header lines that end with CRLF");

/** The position of the next byte in the grammar of RFC 9112 section 7.1. */
enum At {
  Size,
  BeforeExtension,
  ExtensionName,
  AfterExtensionName,
  ExtensionValue,
  QuotedValue,
  QuotedPair,
  AfterQuoted,
  SizeLineFeed,
  Data,
  DataCarriageReturn,
  DataLineFeed,
  TrailerStart,
  TrailerName,
  TrailerValue,
  TrailerLineFeed,
  LastLineFeed,
  Done,
}

/**
 * Decodes a chunked body, however its bytes are split over packets. White space is allowed around the `;` and the `=`
 * of extensions (`BWS`, RFC 9112 section 7.1.1), and nowhere else: a size followed by a space without `;` is refused,
 * because other implementations might read it as another size.
 */
export class ChunkedDecoder {
  refusal: Refusal | null = null;
  private at = At.Size;
  private sizeDigits = 0;
  private hasSize = false;
  private lineBytes = 0;
  private nameBytes = 0;
  private trailerBytes = 0;
  private dataLeft = 0;

  constructor(
    readonly body: BodyBuffer,
    private readonly limits: HttpLimits,
  ) {}

  get done(): boolean {
    return this.at === At.Done;
  }

  /**
   * Continues decoding. @returns the position reached: `end`, the byte after the body (`done`), or the byte at which
   * the body is refused (`refusal`)
   */
  push(source: Buffer, start: number, end: number): number {
    let position = start;
    while (position < end && this.at !== At.Done && this.refusal === null) {
      if (this.at === At.Data) position = this.takeData(source, position, end);
      else this.takeByte(source[position++] ?? 0);
    }
    return position;
  }

  private takeData(source: Buffer, start: number, end: number): number {
    const stop = Math.min(end, start + this.dataLeft);
    if (!this.body.append(source, start, stop)) this.refusal = OVERLOADED;
    this.dataLeft -= stop - start;
    if (this.dataLeft === 0) this.at = At.DataCarriageReturn;
    return stop;
  }

  private takeByte(byte: number): void {
    switch (this.at) {
      case At.Size:
      case At.BeforeExtension:
      case At.ExtensionName:
      case At.AfterExtensionName:
      case At.ExtensionValue:
      case At.QuotedValue:
      case At.QuotedPair:
      case At.AfterQuoted:
        if (++this.lineBytes > MAX_SIZE_LINE_BYTES) this.refusal = BAD_CHUNK;
        else this.takeSizeLine(byte);
        return;
      case At.SizeLineFeed:
        this.expect(byte, LF, this.dataLeft === 0 ? At.TrailerStart : At.Data, BAD_CHUNK);
        return;
      case At.DataCarriageReturn:
        this.expect(byte, CR, At.DataLineFeed, BAD_CHUNK);
        return;
      case At.DataLineFeed:
        this.expect(byte, LF, At.Size, BAD_CHUNK);
        this.sizeDigits = 0;
        this.hasSize = false;
        this.dataLeft = 0;
        this.lineBytes = 0;
        return;
      case At.TrailerLineFeed:
        this.expect(byte, LF, At.TrailerStart, BAD_TRAILER);
        return;
      case At.LastLineFeed:
        this.expect(byte, LF, At.Done, BAD_TRAILER);
        return;
      default:
        if (++this.trailerBytes > this.limits.trailerBytes) this.refusal = HEADERS_TOO_LARGE;
        else this.takeTrailer(byte);
    }
  }

  private expect(byte: number, expected: number, next: At, refusal: Refusal): void {
    if (byte === expected) this.at = next;
    else this.refusal = refusal;
  }

  private takeSizeLine(byte: number): void {
    switch (this.at) {
      case At.Size:
        this.takeSize(byte);
        return;
      case At.BeforeExtension:
        if (byte === SEMICOLON) this.enter(At.ExtensionName);
        else if (!isWhiteSpace(byte)) this.refusal = BAD_CHUNK;
        return;
      case At.ExtensionName:
        if (isA(TOKEN, byte)) this.nameBytes++;
        else if (this.nameBytes > 0) this.endExtensionName(byte);
        else if (!isWhiteSpace(byte)) this.refusal = BAD_CHUNK;
        return;
      case At.AfterExtensionName:
        if (byte === EQUALS) this.enter(At.ExtensionValue);
        else if (byte === SEMICOLON) this.enter(At.ExtensionName);
        else if (!isWhiteSpace(byte)) this.refusal = BAD_CHUNK;
        return;
      case At.ExtensionValue:
        if (isA(TOKEN, byte)) this.nameBytes++;
        else if (this.nameBytes > 0) this.endExtension(byte);
        else if (!isWhiteSpace(byte)) this.expect(byte, QUOTE, At.QuotedValue, BAD_CHUNK);
        return;
      case At.QuotedValue:
        if (byte === QUOTE) this.at = At.AfterQuoted;
        else if (byte === BACKSLASH) this.at = At.QuotedPair;
        else if (!isA(FIELD_VALUE, byte)) this.refusal = BAD_CHUNK;
        return;
      case At.QuotedPair:
        this.at = At.QuotedValue;
        if (!isA(FIELD_VALUE, byte)) this.refusal = BAD_CHUNK;
        return;
      default:
        this.endExtension(byte);
    }
  }

  private takeSize(byte: number): void {
    const digit = hexDigit(byte);
    if (digit >= 0 && this.sizeDigits < MAX_SIZE_DIGITS) {
      this.hasSize = true;
      this.dataLeft = this.dataLeft * 16 + digit;
      if (this.dataLeft > 0) this.sizeDigits++;
    } else if (digit >= 0 || !this.hasSize) this.refusal = BAD_CHUNK;
    else this.endExtension(byte);
  }

  private endExtensionName(byte: number): void {
    if (byte === EQUALS) this.enter(At.ExtensionValue);
    else if (isWhiteSpace(byte)) this.at = At.AfterExtensionName;
    else this.endExtension(byte);
  }

  /** After the size, or after an extension: another extension or the end of the line. */
  private endExtension(byte: number): void {
    if (byte === SEMICOLON) this.enter(At.ExtensionName);
    else if (isWhiteSpace(byte)) this.at = At.BeforeExtension;
    else if (byte !== CR) this.refusal = BAD_CHUNK;
    else if (this.body.length + this.dataLeft > this.limits.bodyBytes) this.refusal = BODY_TOO_LARGE;
    else this.at = At.SizeLineFeed;
  }

  private enter(at: At): void {
    this.at = at;
    this.nameBytes = 0;
  }

  private takeTrailer(byte: number): void {
    switch (this.at) {
      case At.TrailerStart:
        if (byte === CR) this.at = At.LastLineFeed;
        else if (isA(TOKEN, byte)) this.at = At.TrailerName;
        else this.refusal = BAD_TRAILER;
        return;
      case At.TrailerName:
        if (byte === COLON) this.at = At.TrailerValue;
        else if (!isA(TOKEN, byte)) this.refusal = BAD_TRAILER;
        return;
      default:
        if (byte === CR) this.at = At.TrailerLineFeed;
        else if (!isA(FIELD_VALUE, byte)) this.refusal = BAD_TRAILER;
    }
  }
}

function isA(bit: number, byte: number): boolean {
  return ((BYTE_CLASS[byte] ?? 0) & bit) !== 0;
}

function isWhiteSpace(byte: number): boolean {
  return byte === SPACE || byte === TAB;
}

function hexDigit(byte: number): number {
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30;
  const lower = byte | 0x20;
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : -1;
}
