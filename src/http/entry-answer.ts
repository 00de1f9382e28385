import type { LoadSink } from "../cache/cache.ts";
import { type EntryInfo, JSON_CONTENT_TYPE, type Key } from "../engine/engine.ts";
import { etagOf, noneMatchNames } from "./etag.ts";
import type { HttpResponse } from "./exchange.ts";
import { writeShort } from "./response-head.ts";

const DOCUMENT_START = Buffer.from('{"key":"');
const DOCUMENT_MIDDLE = Buffer.from('","value":');
/** Without the key and the value: `{"key":"","value":}`. */
const DOCUMENT_BYTES = DOCUMENT_START.length + DOCUMENT_MIDDLE.length + 1;
const JSON_HEADER = "Content-Type: application/json\r\n";
/** RFC 9211 and, for older clients, RFC 7234 section 5.5.2. */
const STALE_HEADERS = 'Cache-Status: ServCache; hit; detail=stale-if-error\r\nWarning: 111 - "Revalidation Failed"\r\n';
const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const CLOSING_BRACE = 0x7d;

/** What of an entry is asked for. */
export interface EntryDemand {
  /** The value's own bytes, also where it is JSON. */
  readonly raw: boolean;
  readonly headOnly: boolean;
  /** The `If-None-Match` header. */
  readonly noneMatch: string | null;
}

/** Of a plain GET. */
export const WHOLE_ENTRY: EntryDemand = { raw: false, headOnly: false, noneMatch: null };

/**
 * Writes the answer to a GET or HEAD while the engine finds the entry: head and document go straight into the
 * connection's buffer, and the engine copies the value in between. One object serves all requests of a thread, as long
 * as the engine answers at once.
 */
export class EntryAnswer implements LoadSink {
  target: Buffer = Buffer.alloc(0);
  offset = 0;
  /** Length of the value that was found. */
  valueBytes = 0;
  private response: HttpResponse | null = null;
  private key: Key = { bytes: Buffer.alloc(0), length: 0 };
  private demand = WHOLE_ENTRY;
  private finish: Finish = "document";
  private headers = "";
  private bodyBytes = 0;
  private isStale = false;

  constructor(private readonly nowMs: () => number) {}

  /** To be called before the engine is asked. */
  prepare(response: HttpResponse, key: Key, demand: EntryDemand): void {
    this.response = response;
    this.key = key;
    this.demand = demand;
    this.isStale = false;
  }

  markStale(): void {
    this.isStale = true;
  }

  begin(entry: EntryInfo): boolean {
    const { response, demand } = this;
    if (response === null) throw new Error("begin before prepare");
    const { contentType } = entry;
    this.valueBytes = entry.valueLength;
    const isJson = contentType === JSON_CONTENT_TYPE;
    const isDocument = isJson && !demand.raw;
    const type = isJson ? JSON_HEADER : `Content-Type: ${contentType}\r\nX-Content-Type-Options: nosniff\r\n`;
    const cacheControl = this.cacheControl(entry.expiresAtMs);
    const headers = cacheControl === "" ? type : type + cacheControl;
    const isRaw = isJson && demand.raw;
    this.bodyBytes = isDocument ? DOCUMENT_BYTES + escapedLength(this.key) + entry.valueLength : entry.valueLength;
    if (demand.headOnly || demand.noneMatch !== null) {
      const etag = etagOf(entry.tag, isRaw);
      this.headers = `${headers}ETag: ${etag}\r\n`;
      const isKnown = demand.noneMatch !== null && noneMatchNames(demand.noneMatch, etag);
      this.finish = isKnown ? "not-modified" : "head";
      if (isKnown || demand.headOnly) return false;
    }
    this.finish = isDocument ? "document" : "bytes";
    response.beginEntry(headers, entry.tag, isRaw, this.bodyBytes);
    this.target = response.buffer;
    this.offset = isDocument ? this.writeDocumentStart(response.buffer, response.position) : response.position;
    response.position = this.offset + entry.valueLength;
    return true;
  }

  /** To be called after the engine has found the entry. */
  end(): void {
    const { response } = this;
    if (response === null) throw new Error("end before prepare");
    switch (this.finish) {
      case "document":
        response.buffer[response.position++] = CLOSING_BRACE;
        response.endBody();
        break;
      case "bytes":
        response.endBody();
        break;
      case "head":
        response.sendHead(200, this.headers, this.bodyBytes);
        break;
      case "not-modified":
        response.sendHead(304, this.headers, -1);
    }
  }

  private writeDocumentStart(buffer: Buffer, start: number): number {
    const keyStart = writeShort(buffer, start, DOCUMENT_START);
    return writeShort(buffer, writeEscaped(buffer, keyStart, this.key), DOCUMENT_MIDDLE);
  }

  /** Nothing where the entry never expires: it may change at any time all the same. */
  private cacheControl(expiresAtMs: number): string {
    if (this.isStale) return `Cache-Control: max-age=0\r\n${STALE_HEADERS}`;
    if (expiresAtMs === 0) return "";
    const leftSeconds = Math.max(0, Math.trunc((expiresAtMs - this.nowMs()) / 1000));
    return `Cache-Control: max-age=${leftSeconds}\r\n`;
  }
}

type Finish = "document" | "bytes" | "head" | "not-modified";

/** Length of a key in a JSON string. Keys have no control characters, so only quotes and backslashes are escaped. */
export function escapedLength(key: Key): number {
  let length = key.length;
  for (let at = 0; at < key.length; at++) {
    const byte = key.bytes[at];
    if (byte === QUOTE || byte === BACKSLASH) length++;
  }
  return length;
}

/** Writes a key as it stands in a JSON string; gives the position after it. */
export function writeEscaped(buffer: Buffer, start: number, key: Key): number {
  let position = start;
  for (let at = 0; at < key.length; at++) {
    const byte = key.bytes[at] ?? 0;
    if (byte === QUOTE || byte === BACKSLASH) buffer[position++] = BACKSLASH;
    buffer[position++] = byte;
  }
  return position;
}
