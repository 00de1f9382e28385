import { isUtf8 } from "node:buffer";
import {
  type Attributes,
  BINARY_CONTENT_TYPE,
  CONTENT_TYPE_FORM,
  JSON_ATTRIBUTES,
  JSON_CONTENT_TYPE,
  MAX_CONTENT_TYPE_BYTES,
} from "../../model/entry.ts";
import { type Stamp, toVersion } from "../../model/stamp.ts";

/**
 * How an entry looks inside Redis.
 *
 * Plain: the JSON text, for entries that need no metadata, so that other programs read and write them with GET and SET.
 * The revision stands behind it in `REVISION_CHARACTERS` of white space, which JSON ignores: each write has another one,
 * so that two writes of one value have two ETags. It is no part of the value. A plain value that isn't JSON came from
 * another program: it is served as a JSON string, or, where it isn't UTF-8, as `application/octet-stream`.
 *
 * Envelope: for entries with another content type, or with a version. The scripts (`scripts.ts`) know the same layout.
 *
 * What is read is not trusted: an envelope whose version or content type no node writes is somebody's bytes, and JSON
 * that isn't JSON is served as a string.
 *
 * | offset | size | meaning                                                        |
 * |--------|------|----------------------------------------------------------------|
 * | 0      | 1    | 0x01, which no JSON text begins with                           |
 * | 1      | 1    | 0 = the content type says what the value is; 1 = a plain value |
 * | 2      | 8    | version, big-endian                                            |
 * | 10     | 4    | node id, big-endian; the revision where the version is 0        |
 * | 14     | 1    | length of the content type; 0 = JSON                           |
 * | 15     | …    | content type in ASCII, then the value                          |
 */
const ENVELOPE_MARK = 0x01;
const KIND_AT = 1;
const VERSION_AT = 2;
const NODE_ID_AT = 10;
const TYPE_LENGTH_AT = 14;
export const HEADER_BYTES = 15;
const KIND_PLAIN = 1;
const TWO_32 = 0x1_0000_0000;
/** A revision has 32 bits, two in each character, the most significant first. */
export const REVISION_CHARACTERS = 16;
/** The digits of a revision: the white space characters of JSON. */
const WHITE_SPACE = Buffer.from(" \t\n\r");
/** Characters that are allowed in a header. */

const BINARY_ATTRIBUTES: Attributes = { contentType: BINARY_CONTENT_TYPE };

/** An entry as stored: the value is `bytes[start .. end)`. */
export interface StoredEntry {
  readonly bytes: Buffer;
  readonly start: number;
  readonly end: number;
  readonly attributes: Attributes;
  readonly revision: number;
  readonly stamp: Stamp;
}

export const NO_STAMP: Stamp = { version: toVersion(0), nodeId: 0 };

/**
 * Encodes a value for storage, as a copy.
 *
 * @param mark the version to store, or, without versions, a revision of 32 bits that no other write has
 */
export function encodeStored(
  source: Buffer,
  start: number,
  end: number,
  { contentType }: Attributes,
  mark: Stamp | number,
): Buffer {
  const isJson = contentType === JSON_CONTENT_TYPE;
  if (typeof mark === "number" && isJson) return withRevision(source, start, end, mark);
  const typeLength = isJson ? 0 : contentType.length;
  const stored = Buffer.allocUnsafe(HEADER_BYTES + typeLength + end - start);
  stored[0] = ENVELOPE_MARK;
  stored[KIND_AT] = 0;
  const version = typeof mark === "number" ? 0 : mark.version;
  stored.writeUInt32BE(Math.floor(version / TWO_32), VERSION_AT);
  stored.writeUInt32BE(version % TWO_32, VERSION_AT + 4);
  stored.writeUInt32BE(typeof mark === "number" ? mark : mark.nodeId, NODE_ID_AT);
  stored[TYPE_LENGTH_AT] = typeLength;
  if (!isJson) stored.write(contentType, HEADER_BYTES, typeLength, "latin1");
  source.copy(stored, HEADER_BYTES + typeLength, start, end);
  return stored;
}

function withRevision(source: Buffer, start: number, end: number, revision: number): Buffer {
  const valueBytes = end - start;
  const stored = Buffer.allocUnsafe(valueBytes + REVISION_CHARACTERS);
  source.copy(stored, 0, start, end);
  let rest = revision;
  for (let at = stored.length - 1; at >= valueBytes; at--) {
    stored[at] = WHITE_SPACE[rest & 3] ?? 0;
    rest >>>= 2;
  }
  return stored;
}

/** The end of a JSON value: before its revision, if it has one. */
function endOfValue(text: Buffer): number {
  const end = text.length - REVISION_CHARACTERS;
  if (end <= 0) return text.length;
  for (let at = end; at < text.length; at++) if (!WHITE_SPACE.includes(text[at] ?? 0)) return text.length;
  return end;
}

/** Decodes both forms. Never throws: bytes that are in neither form are served as a plain value. */
export function decodeStored(stored: Buffer): StoredEntry {
  if (stored[0] !== ENVELOPE_MARK || stored.length < HEADER_BYTES) return decodePlain(stored, 0, NO_STAMP);
  const typeLength = stored[TYPE_LENGTH_AT] ?? 0;
  const start = HEADER_BYTES + typeLength;
  if (start > stored.length) return decodePlain(stored, 0, NO_STAMP);
  const version = stored.readUInt32BE(VERSION_AT) * TWO_32 + stored.readUInt32BE(VERSION_AT + 4);
  if (!Number.isSafeInteger(version)) return decodePlain(stored, 0, NO_STAMP);
  const stamp = version === 0 ? NO_STAMP : { version: toVersion(version), nodeId: stored.readUInt32BE(NODE_ID_AT) };
  if (stored[KIND_AT] === KIND_PLAIN) return decodePlain(stored, start, stamp);
  if (typeLength === 0) return decodePlain(stored, start, stamp);
  const contentType = stored.toString("latin1", HEADER_BYTES, start);
  if (!isForeignToJson(contentType)) return decodePlain(stored, 0, NO_STAMP);
  return {
    bytes: stored,
    start,
    end: stored.length,
    attributes: { contentType },
    revision: revisionOf(stored, stamp),
    stamp,
  };
}

/**
 * Whether a node may have stored this content type: it fits in a header, and is not that of JSON, which is stored
 * without a name.
 */
function isForeignToJson(contentType: string): boolean {
  if (contentType.length > MAX_CONTENT_TYPE_BYTES || !CONTENT_TYPE_FORM.test(contentType)) return false;
  return contentType.split(";", 1)[0]?.trim().toLowerCase() !== JSON_CONTENT_TYPE;
}

/** The version if there is one; otherwise 53 bits of a hash of the stored bytes. */
function revisionOf(stored: Buffer, stamp: Stamp): number {
  if (stamp.version !== 0) return stamp.version;
  return (Bun.hash.xxHash32(stored, 0x5eed) & 0x1f_ffff) * TWO_32 + Bun.hash.crc32(stored);
}

/** The stamp of a deleted key, as left by the scripts; null = none. */
export function decodeTombstone(stored: Buffer | null): Stamp | null {
  if (stored === null || stored.length < 12) return null;
  const version = stored.readUInt32BE(0) * TWO_32 + stored.readUInt32BE(4);
  if (!Number.isSafeInteger(version)) return null;
  return { version: toVersion(version), nodeId: stored.readUInt32BE(8) };
}

function decodePlain(stored: Buffer, start: number, stamp: Stamp): StoredEntry {
  const revision = revisionOf(stored, stamp);
  const plain = start === 0 ? stored : stored.subarray(start);
  if (!isUtf8(plain)) {
    return { bytes: plain, start: 0, end: plain.length, attributes: BINARY_ATTRIBUTES, revision, stamp };
  }
  const text = plain.toString();
  const isJson = isJsonText(text);
  const bytes = isJson ? plain : Buffer.from(JSON.stringify(text));
  // JSON in an envelope has no revision behind it, unless it was a plain value.
  const isMarked = isJson && (start === 0 || stored[KIND_AT] === KIND_PLAIN);
  const end = isMarked ? endOfValue(bytes) : bytes.length;
  return { bytes, start: 0, end, attributes: JSON_ATTRIBUTES, revision, stamp };
}

function isJsonText(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}
