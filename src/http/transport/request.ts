import type { HttpRequest } from "./exchange.ts";
import { MAX_HEADERS } from "./limits.ts";
import type { Refusal } from "./refusal.ts";

/** Numbers per header in `headerSpans`: start and end of its name, start and end of its value. */
export const SPAN = 4;

export const NO_BYTES: Buffer = Buffer.alloc(0);

/** `ParsedRequest.contentLength` of a head without one. */
export const NO_LENGTH = -1;

/**
 * One parsed request, as the handler sees it. Reused for the next one, unless a connection has to keep it (for a body
 * that is still arriving, or for an answer that comes later).
 */
export class ParsedRequest implements HttpRequest {
  method = "";
  buffer: Buffer = NO_BYTES;
  targetStart = 0;
  targetEnd = 0;
  queryStart = -1;
  body: Buffer = NO_BYTES;
  bodyStart = 0;
  bodyEnd = 0;

  /** The client of the request; set before the handler sees it. */
  client: { readonly remoteAddress: string } | null = null;

  contentLength = NO_LENGTH;
  chunked = false;
  keepAlive = true;
  closeAsked = false;
  keepAliveAsked = false;
  /** HTTP/1.0: the connection is reused only with "Connection: keep-alive". */
  oldVersion = false;
  expectsContinue = false;
  /** The authority of an absolute-form target: `buffer[authorityStart .. authorityEnd)`; empty for other forms. */
  authorityStart = 0;
  authorityEnd = 0;
  hasContentType = false;
  isConditional = false;
  /** Why the head is refused; set only if the parser returned `REFUSED`. */
  refusal: Refusal | null = null;

  /** Bit n: there is a header whose name has n bytes, modulo 32. Most headers that are looked up are absent. */
  nameLengths = 0;
  /** Index of `Host` in `headerSpans`; -1 = absent. */
  hostAt = -1;
  headerCount = 0;
  readonly headerSpans = new Int32Array(MAX_HEADERS * SPAN);

  /** Read from the socket only when it is needed. */
  get remoteAddress(): string {
    return this.client?.remoteAddress ?? "";
  }

  /** Drops all references to the request's memory. */
  forget(): void {
    this.buffer = NO_BYTES;
    this.body = NO_BYTES;
    this.client = null;
  }

  header(lowerCaseName: string): string | null {
    if (!this.mayHave(lowerCaseName)) return null;
    let found: string | null = null;
    for (let at = 0; at < this.headerCount * SPAN; at += SPAN) {
      if (!this.isNamed(at, lowerCaseName)) continue;
      const value = this.buffer.latin1Slice(this.headerSpans[at + 2] ?? 0, this.headerSpans[at + 3] ?? 0);
      found = found === null ? value : `${found}, ${value}`;
    }
    return found;
  }

  /** False = there is no header with this name. */
  mayHave(name: string): boolean {
    return (this.nameLengths & (1 << name.length)) !== 0;
  }

  private isNamed(at: number, lowerCaseName: string): boolean {
    const start = this.headerSpans[at] ?? 0;
    const length = (this.headerSpans[at + 1] ?? 0) - start;
    return length === lowerCaseName.length && equalsIgnoringCase(this.buffer, start, lowerCaseName);
  }
}

/**
 * Whether the bytes from `start` on equal `lowerCase`, ignoring case. No byte of `lowerCase` may change when 0x20 is
 * set.
 */
export function equalsIgnoringCase(buffer: Buffer, start: number, lowerCase: string): boolean {
  for (let i = 0; i < lowerCase.length; i++) {
    const byte = buffer[start + i] ?? 0;
    const expected = lowerCase.charCodeAt(i);
    if (byte === expected) continue;
    if (byte < 0x41 || byte > 0x5a || (byte | 0x20) !== expected) return false;
  }
  return true;
}
