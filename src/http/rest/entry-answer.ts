import type { LoadSink, LoadState } from "../../cache/backing-store.ts";
import { type EntryInfo, LARGE_VALUE_BYTES } from "../../engine/engine.ts";
import { NEVER } from "../../model/entry.ts";
import type { Key } from "../../model/key.ts";
import { InFlight } from "../../runtime/byte-budget.ts";
import { CountedBytes } from "../../runtime/counted-bytes.ts";
import { HeldBytes } from "../transport/answer-part.ts";
import { ApiError, TOO_MUCH_IN_FLIGHT } from "../transport/api-error.ts";
import { etagOf } from "../transport/etag-text.ts";
import type { HttpRequest, HttpResponse, Representation } from "../transport/exchange.ts";
import { freeBuffer } from "../transport/free-buffer.ts";
import { writeShort } from "../transport/response-head.ts";
import { accepts, type Coding, type DecodedBytes, type Decoder } from "./content-coding.ts";
import { type EntryHead, HIT, NO_TTL } from "./entry-head.ts";
import { type EntryBody, EntryParts, type PartBuffer } from "./entry-parts.ts";
import { preconditionFailed } from "./outcomes.ts";
import { matchNames, noneMatchNames } from "./preconditions.ts";
import type { ValueTypes } from "./value-type.ts";

const DOCUMENT_START = Buffer.from('{"key":"');
const DOCUMENT_MIDDLE = Buffer.from('","value":');
/** Bytes of the document without key and value: `{"key":"","value":}`. */
const DOCUMENT_BYTES = DOCUMENT_START.length + DOCUMENT_MIDDLE.length + 1;
const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const CLOSING_BRACE = 0x7d;
const DOCUMENT_END = Buffer.of(CLOSING_BRACE);
const NOTHING = Buffer.alloc(0);

/** The request for an entry. */
export interface EntryDemand {
  /** Whether to answer the bytes of the value itself, even if it is JSON. */
  readonly raw: boolean;
  readonly headOnly: boolean;
  /** The headers `If-Match` and `If-None-Match`. */
  readonly match: string | null;
  readonly noneMatch: string | null;
}

/** The demand of a plain GET. */
export const WHOLE_ENTRY: EntryDemand = { raw: false, headOnly: false, match: null, noneMatch: null };

/** The parts that the answers of one thread share. */
export interface AnswerParts {
  /** Ms since the Unix epoch. */
  readonly nowMs: () => number;
  readonly head: EntryHead;
  readonly types: ValueTypes;
  readonly decoder: Decoder;
  readonly partBuffer: PartBuffer;
}

/** An answer whose value has to be decoded. */
export interface DecodedAnswer extends DecodedBytes {
  readonly headers: string;
}

export function sendDecoded(response: HttpResponse, { headers, bytes, countedBytes }: DecodedAnswer): void {
  const { length } = bytes;
  response.sendPart(200, headers, length, new HeldBytes(response.budget, bytes, 0, length, countedBytes));
}

/** The load state of a stale value from the engine. */
const STALE: LoadState = { isStale: true, isStored: false, isCollapsed: false };

/**
 * Writes the answer to a GET or HEAD while the engine finds the entry: head and document are written directly to the
 * connection's buffer, and the engine copies the value in between. One object serves all requests of a thread, as long
 * as the engine answers at once.
 */
export class EntryAnswer implements LoadSink {
  target: Buffer = Buffer.alloc(0);
  offset = 0;
  /** Length of the found value. */
  valueBytes = 0;
  private request: HttpRequest | null = null;
  private response: HttpResponse | null = null;
  private key: Key = { bytes: Buffer.alloc(0), length: 0 };
  private demand = WHOLE_ENTRY;
  private state: LoadState | null = HIT;
  private finish: Finish = "document";
  /** The headers of an answer that is not written in `begin`. */
  private headers = "";
  private bodyBytes = 0;
  private coding: Coding | null = null;
  private body: EntryBody | null = null;
  /** The budget's share of the encoded value. */
  private encoded: CountedBytes | null = null;

  constructor(private readonly parts: AnswerParts) {}

  /** To be called before the engine looks up the entry. */
  prepare(request: HttpRequest, response: HttpResponse, key: Key, demand: EntryDemand): void {
    this.request = request;
    this.response = response;
    this.key = key;
    this.demand = demand;
    this.state = HIT;
    // The entry was gone after `begin`.
    this.encoded?.giveBack();
  }

  markLoaded(state: LoadState): void {
    this.state = state;
  }

  markStale(): void {
    this.state = STALE;
  }

  begin(entry: EntryInfo): boolean {
    const { response, request, demand, parts } = this;
    if (response === null || request === null) throw new Error("begin before prepare");
    const type = parts.types.of(entry.attributes);
    const { coding, isJson } = type;
    const isDocument = isJson && !demand.raw;
    const isDecoded = coding !== null && !accepts(request.header("accept-encoding"), coding);
    const representation: Representation = isDecoded ? "-decoded" : isJson && demand.raw ? "-raw" : "";
    this.valueBytes = entry.valueLength;
    this.bodyBytes = isDocument ? DOCUMENT_BYTES + escapedLength(this.key) + entry.valueLength : entry.valueLength;
    parts.head.set(isDecoded ? type.decodedHeaders : type.headers, this.ttlSeconds(entry.expiresAtMs), this.state);
    if (isDecoded || demand !== WHOLE_ENTRY) {
      const etag = etagOf(entry.revision, representation);
      this.headers = `${parts.head.text}ETag: ${etag}\r\n`;
      this.coding = isDecoded ? coding : null;
      this.finish = finishOf(demand, etag, isDecoded);
      if (this.finish === "decoded") return this.beginEncoded(response, entry.valueLength);
      if (this.finish !== "bytes") return false;
    }
    if (entry.valueLength >= LARGE_VALUE_BYTES && this.state === HIT) {
      this.body = response.budget.hasRoomForCopy(this.bodyBytes) ? null : this.bodyInParts(entry, isDocument);
      if (this.body !== null) {
        this.headers = `${parts.head.text}ETag: ${etagOf(entry.revision, representation)}\r\n`;
        this.finish = "parts";
        return false;
      }
    }
    this.finish = isDocument ? "document" : "bytes";
    response.beginEntry(parts.head.bytes, parts.head.length, entry.revision, representation, this.bodyBytes);
    this.target = response.buffer;
    this.offset = isDocument ? this.writeDocumentStart(response.buffer, response.position) : response.position;
    response.position = this.offset + entry.valueLength;
    return true;
  }

  /**
   * To be called after the engine has found the entry. Throws `ApiError` (412) if `If-Match` does not match.
   *
   * @returns null if the answer is complete; otherwise a promise of the decoded answer
   */
  end(): Promise<DecodedAnswer> | null {
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
      case "parts":
        this.sendParts(response);
        break;
      case "head":
        // The decoded length is known only after decoding.
        response.sendHead(200, this.headers, this.coding === null ? this.bodyBytes : -1);
        break;
      case "not-modified":
        response.sendHead(304, this.headers, -1);
        break;
      case "not-matched":
        throw preconditionFailed();
      case "no-room":
        throw TOO_MUCH_IN_FLIGHT;
      case "decoded":
        return this.decoded(response, this.headers, this.target);
    }
    return null;
  }

  /** The body of a value that is too large to be copied for each client. Null = the engine does not support parts. */
  private bodyInParts({ valueLength, parts, stamp }: EntryInfo, isDocument: boolean): EntryBody | null {
    if (parts === undefined) return null;
    const { bytes, length } = this.key;
    const key = { bytes: Buffer.from(bytes.subarray(0, length)), length };
    let before = NOTHING;
    if (isDocument) {
      before = Buffer.allocUnsafeSlow(DOCUMENT_BYTES + escapedLength(key) - DOCUMENT_END.length);
      this.writeDocumentStart(before, 0);
    }
    return {
      parts,
      key,
      stamp: { version: stamp.version, nodeId: stamp.nodeId },
      valueBytes: valueLength,
      before,
      after: isDocument ? DOCUMENT_END : NOTHING,
    };
  }

  private sendParts(response: HttpResponse): void {
    if (this.body === null) throw new Error("an answer in parts has no body");
    const body = new EntryParts(this.body, response.budget, this.parts.partBuffer);
    this.body = null;
    response.sendPart(200, this.headers, this.bodyBytes, body);
  }

  private beginEncoded(response: HttpResponse, valueBytes: number): boolean {
    this.encoded ??= new CountedBytes(response.budget, InFlight.Answers);
    this.encoded.giveBack();
    if (!this.encoded.take(valueBytes)) {
      // The engine is not involved in this failure, and does not see it.
      this.finish = "no-room";
      return false;
    }
    this.target = Buffer.allocUnsafeSlow(valueBytes);
    this.offset = 0;
    return true;
  }

  private async decoded({ budget }: HttpResponse, headers: string, encoded: Buffer): Promise<DecodedAnswer> {
    const { coding, encoded: counted } = this;
    this.encoded = null;
    this.target = NOTHING;
    if (coding === null) throw new Error("an answer is to be decoded from nothing");
    let decoded: DecodedBytes | null;
    try {
      decoded = await this.parts.decoder.decode(coding, encoded, budget);
    } finally {
      counted?.giveBack();
      freeBuffer(encoded);
    }
    if (decoded !== null) return { headers, ...decoded };
    const message = `the value can't be decoded from ${coding}: request it with Accept-Encoding: ${coding}`;
    throw new ApiError(406, "ERR_NOT_ACCEPTABLE", message);
  }

  private writeDocumentStart(buffer: Buffer, start: number): number {
    const keyStart = writeShort(buffer, start, DOCUMENT_START);
    return writeShort(buffer, writeEscaped(buffer, keyStart, this.key), DOCUMENT_MIDDLE);
  }

  private ttlSeconds(expiresAtMs: number): number {
    return expiresAtMs === NEVER ? NO_TTL : Math.max(0, Math.trunc((expiresAtMs - this.parts.nowMs()) / 1000));
  }
}

/** `bytes` means any body that needs no decoding. */
type Finish = "document" | "bytes" | "parts" | "decoded" | "no-room" | "head" | "not-modified" | "not-matched";

/** Evaluates the conditions in the order of RFC 9110, section 13.2.2. */
function finishOf({ match, noneMatch, headOnly }: EntryDemand, etag: string, isDecoded: boolean): Finish {
  if (match !== null && !matchNames(match, etag)) return "not-matched";
  if (noneMatch !== null && noneMatchNames(noneMatch, etag)) return "not-modified";
  if (headOnly) return "head";
  return isDecoded ? "decoded" : "bytes";
}

/** Length of a key in a JSON string. Keys contain no control characters, so only quotes and backslashes are escaped. */
export function escapedLength(key: Key): number {
  let length = key.length;
  for (let at = 0; at < key.length; at++) {
    const byte = key.bytes[at];
    if (byte === QUOTE || byte === BACKSLASH) length++;
  }
  return length;
}

/** Writes a key as the content of a JSON string; returns the position after it. */
export function writeEscaped(buffer: Buffer, start: number, key: Key): number {
  let position = start;
  for (let at = 0; at < key.length; at++) {
    const byte = key.bytes[at] ?? 0;
    if (byte === QUOTE || byte === BACKSLASH) buffer[position++] = BACKSLASH;
    buffer[position++] = byte;
  }
  return position;
}
