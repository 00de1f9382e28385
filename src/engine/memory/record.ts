import type { Attributes } from "../../model/entry.ts";
import type { Arena } from "./arena.ts";
import {
  CONTENT_TYPE_INLINE,
  CONTENT_TYPE_MASK,
  CONTENT_TYPE_SHIFT,
  FLAG_BLOB,
  FLAG_EXPIRES,
  FLAG_MAIN,
  FLAG_NODE_ID,
  FLAG_TOMBSTONE,
  KEY_LENGTH_MASK,
  type Queue,
  RECORD_EXPIRY_HI,
  RECORD_EXPIRY_LO,
  RECORD_EXPIRY_WORDS,
  RECORD_META,
  RECORD_VALUE_BYTES,
  RECORD_VERSION_HI,
  RECORD_VERSION_LO,
  RECORD_WORDS,
  SEGMENT_RESERVED_BYTES,
  SHARD_DELETED,
  SHARD_MAIN,
  SHARD_SMALL,
  UNIT_BYTES,
} from "./layout.ts";

const TWO_32 = 2 ** 32;

/** Content types that a record stores as a number. The order is part of the layout. */
const COMMON_CONTENT_TYPES: readonly string[] = [
  "application/json",
  "application/octet-stream",
  "text/plain",
  "text/plain; charset=utf-8",
  "text/plain;charset=UTF-8",
  "text/html",
  "text/html; charset=utf-8",
  "application/xml",
  "image/png",
  "image/jpeg",
  "application/x-protobuf",
  "application/msgpack",
];

/** The number of a content type, or `CONTENT_TYPE_INLINE`. */
export function contentTypeNumber(contentType: string): number {
  if (contentType === "application/json") return 0;
  const number = COMMON_CONTENT_TYPES.indexOf(contentType);
  return number < 0 ? CONTENT_TYPE_INLINE : number;
}

/**
 * The layout of a record, computed from its lengths and flags: filled by `plan` for a record to be written, by
 * `readPlan` for an existing one. Reused, so that neither allocates.
 */
export class RecordPlan {
  /** All bytes before the value: header, key, content type. They never cross the end of a segment. */
  prefixBytes = 0;
  /** The part of the value that lies in the record itself. */
  inlineBytes = 0;
  /** Whole segments that hold the first part of the value. */
  blobSegments = 0;
  /** Size of the record without its blob, padded. */
  recordBytes = 0;

  constructor(private readonly blobSegmentBytes: number) {}

  plan(keyBytes: number, contentTypeBytes: number, valueBytes: number, expires: boolean, nodeId: boolean): void {
    this.blobSegments = Math.trunc(valueBytes / this.blobSegmentBytes);
    this.inlineBytes = valueBytes - this.blobSegments * this.blobSegmentBytes;
    this.prefixBytes =
      headerWords(expires, nodeId, this.blobSegments > 0) * 4 +
      keyBytes +
      (contentTypeBytes > 0 ? 1 + contentTypeBytes : 0);
    this.recordBytes = padded(this.prefixBytes + this.inlineBytes);
  }

  /** Reads the layout of the record at `location`. */
  readPlan(arena: Arena, location: number): void {
    const words = arena.wordsAt(location);
    const word = arena.wordIndex(location);
    const meta = words[word + RECORD_META]!;
    const valueBytes = words[word + RECORD_VALUE_BYTES]!;
    this.prefixBytes = prefixBytes(meta, arena.bytesAt(location), word << 2);
    this.blobSegments = meta & FLAG_BLOB ? Math.trunc(valueBytes / this.blobSegmentBytes) : 0;
    this.inlineBytes = valueBytes - this.blobSegments * this.blobSegmentBytes;
    this.recordBytes = padded(this.prefixBytes + this.inlineBytes);
  }

  /** The total cost of the record, in units. */
  totalUnits(): number {
    return (this.recordBytes + this.blobSegments * (this.blobSegmentBytes + SEGMENT_RESERVED_BYTES)) / UNIT_BYTES;
  }
}

/** The queue that a record is in. */
export function queueOf(meta: number): Queue {
  if ((meta & FLAG_TOMBSTONE) !== 0) return SHARD_DELETED;
  return (meta & FLAG_MAIN) !== 0 ? SHARD_MAIN : SHARD_SMALL;
}

function headerWords(expires: boolean, nodeId: boolean, blob: boolean): number {
  return RECORD_WORDS + (expires ? RECORD_EXPIRY_WORDS : 0) + (nodeId ? 1 : 0) + (blob ? 1 : 0);
}

/** Word of the node id in the header. */
export function nodeIdWord(meta: number): number {
  return RECORD_WORDS + (meta & FLAG_EXPIRES ? RECORD_EXPIRY_WORDS : 0);
}

/** Word of the blob's first segment in the header. */
export function blobWord(meta: number): number {
  return nodeIdWord(meta) + (meta & FLAG_NODE_ID ? 1 : 0);
}

/** Offset of the key from the record's start, in bytes. */
export function keyOffset(meta: number): number {
  return (blobWord(meta) + (meta & FLAG_BLOB ? 1 : 0)) << 2;
}

/** Bytes before the value, for the record that starts at byte `start` of `bytes`. */
export function prefixBytes(meta: number, bytes: Buffer, start: number): number {
  const afterKey = keyOffset(meta) + (meta & KEY_LENGTH_MASK);
  if (((meta >>> CONTENT_TYPE_SHIFT) & CONTENT_TYPE_MASK) !== CONTENT_TYPE_INLINE) return afterKey;
  return afterKey + 1 + bytes[start + afterKey]!;
}

/** Content type of the record that starts at byte `start` of `bytes`. */
export function contentTypeOf(meta: number, bytes: Buffer, start: number): string {
  const number = (meta >>> CONTENT_TYPE_SHIFT) & CONTENT_TYPE_MASK;
  if (number !== CONTENT_TYPE_INLINE) return COMMON_CONTENT_TYPES[number] ?? "";
  const at = start + keyOffset(meta) + (meta & KEY_LENGTH_MASK);
  return bytes.toString("latin1", at + 1, at + 1 + bytes[at]!);
}

/** What else is kept of that record. */
export function attributesOf(meta: number, bytes: Buffer, start: number): Attributes {
  return { contentType: contentTypeOf(meta, bytes, start) };
}

/** Absolute expiry in ms since the Unix epoch, 0 = never. */
export function expiryOf(words: Int32Array, word: number): number {
  if ((words[word + RECORD_META]! & FLAG_EXPIRES) === 0) return 0;
  return (words[word + RECORD_EXPIRY_HI]! >>> 0) * TWO_32 + (words[word + RECORD_EXPIRY_LO]! >>> 0);
}

export function versionOf(words: Int32Array, word: number): number {
  return words[word + RECORD_VERSION_HI]! * TWO_32 + (words[word + RECORD_VERSION_LO]! >>> 0);
}

export function nodeIdOf(words: Int32Array, word: number): number {
  const meta = words[word + RECORD_META]!;
  return meta & FLAG_NODE_ID ? words[word + nodeIdWord(meta)]! >>> 0 : 0;
}

/** Writes a safe integer into two words. */
export function writeSafeInteger(words: Int32Array, lowWord: number, highWord: number, value: number): void {
  words[lowWord] = value;
  words[highWord] = Math.trunc(value / TWO_32);
}

function padded(bytes: number): number {
  return (bytes + UNIT_BYTES - 1) & -UNIT_BYTES;
}
