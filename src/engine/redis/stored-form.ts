import { isUtf8 } from "node:buffer";
import { JSON_CONTENT_TYPE, type Stamp, type Version } from "../engine.ts";

/**
 * How an entry looks inside Redis.
 *
 * Plain: the JSON text itself, for entries that need no metadata, so that other programs read and write them with GET
 * and SET. A plain value that isn't JSON came from another program: it is served as a JSON string, or, where it isn't
 * UTF-8, as `application/octet-stream`.
 *
 * Envelope: for entries with another content type, or with a version. The scripts (`scripts.ts`) know the same layout.
 *
 * | offset | size | meaning                                                        |
 * |--------|------|----------------------------------------------------------------|
 * | 0      | 1    | 0x01, which no JSON text begins with                           |
 * | 1      | 1    | 0 = the content type says what the value is; 1 = a plain value |
 * | 2      | 8    | version, big-endian                                            |
 * | 10     | 4    | origin, big-endian                                             |
 * | 14     | 1    | length of the content type; 0 = JSON                           |
 * | 15     | …    | content type in ASCII, then the value                          |
 */
export const ENVELOPE_MARK = 0x01;
const KIND_AT = 1;
const VERSION_AT = 2;
const ORIGIN_AT = 10;
const TYPE_LENGTH_AT = 14;
export const HEADER_BYTES = 15;
const KIND_PLAIN = 1;
const TWO_32 = 0x1_0000_0000;

export const BINARY_CONTENT_TYPE = "application/octet-stream";

/** An entry as it was found: the value is `bytes[start .. end)`. */
export interface StoredEntry {
  readonly bytes: Buffer;
  readonly start: number;
  readonly end: number;
  readonly contentType: string;
  readonly tag: number;
  readonly stamp: Stamp;
}

export const NO_STAMP: Stamp = { version: toVersion(0), origin: 0 };

/** The bytes to store for a value, copied. `stamp` null = no version is kept. */
export function encodeStored(
  source: Buffer,
  start: number,
  end: number,
  contentType: string,
  stamp: Stamp | null,
): Buffer {
  const isJson = contentType === JSON_CONTENT_TYPE;
  if (stamp === null && isJson && source[start] !== ENVELOPE_MARK) return Buffer.from(source.subarray(start, end));
  const typeLength = isJson ? 0 : contentType.length;
  const stored = Buffer.allocUnsafe(HEADER_BYTES + typeLength + end - start);
  stored[0] = ENVELOPE_MARK;
  stored[KIND_AT] = 0;
  const version = stamp?.version ?? 0;
  stored.writeUInt32BE(Math.floor(version / TWO_32), VERSION_AT);
  stored.writeUInt32BE(version % TWO_32, VERSION_AT + 4);
  stored.writeUInt32BE(stamp?.origin ?? 0, ORIGIN_AT);
  stored[TYPE_LENGTH_AT] = typeLength;
  if (!isJson) stored.write(contentType, HEADER_BYTES, typeLength, "latin1");
  source.copy(stored, HEADER_BYTES + typeLength, start, end);
  return stored;
}

/** Understands both forms. Never throws: what can't be understood is somebody's bytes, and served as such. */
export function decodeStored(stored: Buffer): StoredEntry {
  if (stored[0] !== ENVELOPE_MARK || stored.length < HEADER_BYTES) return decodePlain(stored, 0, NO_STAMP);
  const typeLength = stored[TYPE_LENGTH_AT] ?? 0;
  const start = HEADER_BYTES + typeLength;
  if (start > stored.length) return decodePlain(stored, 0, NO_STAMP);
  const version = stored.readUInt32BE(VERSION_AT) * TWO_32 + stored.readUInt32BE(VERSION_AT + 4);
  if (!Number.isSafeInteger(version)) return decodePlain(stored, 0, NO_STAMP);
  const stamp = version === 0 ? NO_STAMP : { version: toVersion(version), origin: stored.readUInt32BE(ORIGIN_AT) };
  if (stored[KIND_AT] === KIND_PLAIN) return decodePlain(stored, start, stamp);
  const contentType = typeLength === 0 ? JSON_CONTENT_TYPE : stored.toString("latin1", HEADER_BYTES, start);
  return { bytes: stored, start, end: stored.length, contentType, tag: tagOf(stored, stamp), stamp };
}

/** A hash of 53 bits of the stored bytes where there is no version; the version where there is one. */
function tagOf(stored: Buffer, stamp: Stamp): number {
  if (stamp.version !== 0) return stamp.version;
  return (Bun.hash.xxHash32(stored, 0x5eed) & 0x1f_ffff) * TWO_32 + Bun.hash.crc32(stored);
}

/** What the scripts leave behind for a deleted key; null = nothing. */
export function decodeTombstone(stored: Buffer | null): Stamp | null {
  if (stored === null || stored.length < 12) return null;
  const version = stored.readUInt32BE(0) * TWO_32 + stored.readUInt32BE(4);
  return { version: toVersion(version), origin: stored.readUInt32BE(8) };
}

function decodePlain(stored: Buffer, start: number, stamp: Stamp): StoredEntry {
  const tag = tagOf(stored, stamp);
  const plain = start === 0 ? stored : stored.subarray(start);
  if (!isUtf8(plain)) {
    return { bytes: plain, start: 0, end: plain.length, contentType: BINARY_CONTENT_TYPE, tag, stamp };
  }
  const text = plain.toString();
  const bytes = isJsonText(text) ? plain : Buffer.from(JSON.stringify(text));
  return { bytes, start: 0, end: bytes.length, contentType: JSON_CONTENT_TYPE, tag, stamp };
}

function isJsonText(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

/** The one place where a number from outside becomes a version. */
export function toVersion(value: number): Version {
  return value as Version;
}
