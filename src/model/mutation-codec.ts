/**
 * A mutation as bytes: between the threads of a node, in its outbox, and between nodes. Whoever needs more around it
 * (a count, a checksum, a destination) frames it by himself. Numbers are little-endian.
 *
 * | offset | size | meaning                                                                |
 * |--------|------|------------------------------------------------------------------------|
 * | 0      | 1    | kind: the index in `KINDS`, from 1 on                                  |
 * | 1      | 1    | length of the content type; 0 = JSON, or it brings no value            |
 * | 2      | 2    | length of the key or pattern; 0 = all keys                             |
 * | 4      | 2    | length of the trace context; 0 = none                                  |
 * | 6      | 2    | nothing                                                                |
 * | 8      | 4    | length of the value                                                    |
 * | 12     | 4    | node id                                                                |
 * | 16     | 8    | version, a double                                                      |
 * | 24     | 8    | expiry, a double; 0 = none                                             |
 * | 32     | …    | content type, key or pattern, trace context, value                     |
 * | …      | 12   | of a touch: its version and its node id                                |
 *
 * What changes here changes the version numbers of the outbox' file and of the messages between nodes.
 */

import { isUtf8 } from "node:buffer";
import {
  type CacheValue,
  CONTENT_TYPE_FORM,
  JSON_CONTENT_TYPE,
  MAX_CONTENT_TYPE_BYTES,
  MAX_VALUE_BYTES,
} from "./entry.ts";
import { MAX_PATTERN_BYTES } from "./glob.ts";
import { MAX_KEY_BYTES } from "./key.ts";
import { hasValue, type Mutation } from "./mutation.ts";
import { type Stamp, toVersion } from "./stamp.ts";

const KINDS = ["put", "touch", "delete", "outdated", "invalidate"] as const;
const HEADER_BYTES = 32;
const TOUCH_BYTES = 12;
const MOST_UTF8_BYTES = 3;

/** The first bytes of a mutation that `readSummary` needs. */
export const SUMMARY_BYTES = HEADER_BYTES + MAX_CONTENT_TYPE_BYTES;

/** Bytes that are no mutation. */
export class MutationFormatError extends Error {}

/** As many bytes as `writeMutation` writes at most. */
export function mostBytes(mutation: Mutation): number {
  const text = mutation.kind === "invalidate" ? (mutation.pattern ?? "") : mutation.key;
  const letters = MOST_UTF8_BYTES * (text.length + (mutation.traceContext?.length ?? 0));
  const value = hasValue(mutation) ? MAX_CONTENT_TYPE_BYTES + mutation.value.bytes.length : 0;
  return HEADER_BYTES + TOUCH_BYTES + letters + value;
}

/** Writes from `start` on, where `mostBytes` of room are; gives the end. `isTraced`: with its trace context. */
export function writeMutation(buffer: Buffer, start: number, mutation: Mutation, isTraced = true): number {
  const { kind, stamp } = mutation;
  let at = start + HEADER_BYTES;
  let expiresAtMs = 0;
  let typeBytes = 0;
  let valueBytes = 0;
  if (hasValue(mutation)) {
    const { bytes, contentType } = mutation.value;
    expiresAtMs = mutation.expiresAtMs;
    valueBytes = bytes.length;
    if (contentType !== JSON_CONTENT_TYPE) typeBytes = buffer.latin1Write(contentType, at);
    at += typeBytes;
  }
  const text = kind === "invalidate" ? (mutation.pattern ?? "") : mutation.key;
  const textBytes = buffer.utf8Write(text, at);
  at += textBytes;
  const { traceContext } = mutation;
  const traceBytes = !isTraced || traceContext === undefined ? 0 : buffer.utf8Write(traceContext, at);
  at += traceBytes;
  buffer[start] = KINDS.indexOf(kind) + 1;
  buffer[start + 1] = typeBytes;
  buffer.writeUInt16LE(textBytes, start + 2);
  buffer.writeUInt16LE(traceBytes, start + 4);
  buffer.writeUInt16LE(0, start + 6);
  buffer.writeUInt32LE(valueBytes, start + 8);
  buffer.writeUInt32LE(stamp.nodeId, start + 12);
  buffer.writeDoubleLE(stamp.version, start + 16);
  buffer.writeDoubleLE(expiresAtMs, start + 24);
  if (hasValue(mutation)) at += mutation.value.bytes.copy(buffer, at);
  if (kind !== "touch") return at;
  buffer.writeDoubleLE(mutation.touch.version, at);
  buffer.writeUInt32LE(mutation.touch.nodeId, at + 8);
  return at + TOUCH_BYTES;
}

/** A mutation in bytes of its own. */
export function encodeMutation(mutation: Mutation): Buffer {
  const buffer = Buffer.allocUnsafe(mostBytes(mutation));
  return buffer.subarray(0, writeMutation(buffer, 0, mutation));
}

/** What a mutation is, without its texts and its value. */
export interface MutationSummary {
  readonly kind: Mutation["kind"];
  readonly contentType: string;
  readonly valueBytes: number;
}

/** Of the first `SUMMARY_BYTES` of a mutation, or all of a shorter one. Throws `MutationFormatError`. */
export function readSummary(bytes: Buffer): MutationSummary {
  if (bytes.length < HEADER_BYTES + (bytes[1] ?? 0)) throw new MutationFormatError("the mutation is cut off");
  const kind = kindAt(bytes, 0);
  const isValue = kind === "put" || kind === "touch";
  const contentType = isValue ? typeAt(bytes, HEADER_BYTES, bytes[1] ?? 0) : "";
  return { kind, contentType, valueBytes: bytes.readUInt32LE(8) };
}

/**
 * Reads mutations, one after the other, and checks all of it: what they are made of keeps the bounds on keys, patterns,
 * content types and values, whoever sent it. Values are views of the bytes.
 */
export class MutationReader {
  /** Where the next one begins; whoever frames mutations moves it on. */
  at: number;

  constructor(
    private readonly bytes: Buffer,
    start = 0,
    private readonly end = bytes.length,
  ) {
    this.at = start;
  }

  get isAtEnd(): boolean {
    return this.at >= this.end;
  }

  /** Throws `MutationFormatError`. */
  next(): Mutation {
    const { bytes, at } = this;
    if (at + HEADER_BYTES > this.end) throw new MutationFormatError("the mutation is cut off: it has no whole header");
    const kind = kindAt(bytes, at);
    const typeStart = at + HEADER_BYTES;
    const textStart = typeStart + (bytes[at + 1] ?? 0);
    const traceStart = textStart + bytes.readUInt16LE(at + 2);
    const valueStart = traceStart + bytes.readUInt16LE(at + 4);
    const valueEnd = valueStart + bytes.readUInt32LE(at + 8);
    const end = kind === "touch" ? valueEnd + TOUCH_BYTES : valueEnd;
    if (end > this.end) {
      throw new MutationFormatError(`the mutation is cut off: it has ${this.end - at} bytes of ${end - at}`);
    }
    this.at = end;
    const stamp = stampAt(bytes, at + 16, at + 12);
    const traceContext = valueStart === traceStart ? undefined : textAt(bytes, traceStart, valueStart);
    if (kind === "invalidate") {
      const pattern = textStart === traceStart ? null : bounded(bytes, textStart, traceStart, MAX_PATTERN_BYTES);
      return { kind, pattern, stamp, traceContext };
    }
    if (textStart === traceStart) throw new MutationFormatError(`the mutation, a ${kind}, has no key`);
    const key = bounded(bytes, textStart, traceStart, MAX_KEY_BYTES);
    if (kind === "delete" || kind === "outdated") return { kind, key, stamp, traceContext };
    if (valueEnd - valueStart > MAX_VALUE_BYTES) {
      throw new MutationFormatError(
        `the mutation has a value of ${valueEnd - valueStart} bytes, more than ${MAX_VALUE_BYTES}`,
      );
    }
    const contentType = typeAt(bytes, typeStart, textStart - typeStart);
    const value: CacheValue = { bytes: bytes.subarray(valueStart, valueEnd), contentType };
    const expiresAtMs = bytes.readDoubleLE(at + 24);
    if (!(expiresAtMs >= 0 && expiresAtMs <= Number.MAX_SAFE_INTEGER))
      throw new MutationFormatError(`the mutation has the expiry ${expiresAtMs}`);
    if (kind === "put") return { kind, key, value, expiresAtMs, stamp, traceContext };
    return { kind, key, value, expiresAtMs, stamp, touch: stampAt(bytes, valueEnd, valueEnd + 8), traceContext };
  }
}

/** A mutation that is all of the bytes. Throws `MutationFormatError`. */
export function decodeMutation(bytes: Buffer): Mutation {
  const reader = new MutationReader(bytes);
  const mutation = reader.next();
  if (!reader.isAtEnd) throw new MutationFormatError("the mutation goes on behind its end");
  return mutation;
}

/** Null where bytes are no mutation. */
export function unlessUnreadable<T>(read: () => T): T | null {
  try {
    return read();
  } catch (error) {
    if (error instanceof MutationFormatError) return null;
    throw error;
  }
}

function kindAt(bytes: Buffer, at: number): Mutation["kind"] {
  const kind = KINDS[(bytes[at] ?? 0) - 1];
  if (kind === undefined)
    throw new MutationFormatError(`the mutation is of kind ${bytes[at]}, which is not known here`);
  return kind;
}

function typeAt(bytes: Buffer, start: number, length: number): string {
  if (length === 0) return JSON_CONTENT_TYPE;
  const contentType = bytes.latin1Slice(start, start + length);
  if (!CONTENT_TYPE_FORM.test(contentType)) {
    throw new MutationFormatError(`the mutation has the content type ${JSON.stringify(contentType)}`);
  }
  return contentType;
}

function stampAt(bytes: Buffer, versionAt: number, nodeIdAt: number): Stamp {
  const version = bytes.readDoubleLE(versionAt);
  if (!isCount(version)) throw new MutationFormatError(`the mutation has the version ${version}`);
  return { version: toVersion(version), nodeId: bytes.readUInt32LE(nodeIdAt) };
}

function isCount(number: number): boolean {
  return Number.isSafeInteger(number) && number >= 0;
}

function bounded(bytes: Buffer, start: number, end: number, mostBytes: number): string {
  if (end - start > mostBytes) {
    throw new MutationFormatError(`the mutation has a key or pattern of ${end - start} bytes, more than ${mostBytes}`);
  }
  return textAt(bytes, start, end);
}

function textAt(bytes: Buffer, start: number, end: number): string {
  const text = bytes.toString("utf8", start, end);
  // What is no UTF-8 becomes this character, which may stand there by itself as well.
  if (text.includes("\uFFFD") && !isUtf8(bytes.subarray(start, end))) {
    throw new MutationFormatError("the mutation has a text that is not UTF-8");
  }
  return text;
}
