/**
 * Mutations as bytes, for the way from an HTTP thread to the main thread: one buffer that changes hands costs a message
 * the same whether it carries one mutation or a hundred.
 *
 * A frame: flags and kind, lengths, numbers, and then the texts and the value.
 *
 * | offset | size | meaning                                                       |
 * |--------|------|---------------------------------------------------------------|
 * | 0      | 1    | kind: 0 put, 1 delete, 2 invalidate                           |
 * | 1      | 1    | 1 = replicated, 2 = touch, 4 = all keys (an invalidation)     |
 * | 2      | 2    | length of the key or pattern                                  |
 * | 4      | 2    | length of the content type                                    |
 * | 6      | 2    | length of the trace context                                   |
 * | 8      | 4    | length of the value                                           |
 * | 12     | 4    | node id                                                        |
 * | 16     | 8    | version                                                       |
 * | 24     | 8    | expiry                                                        |
 * | 32     | …    | key, content type, trace context, value                       |
 * | …      | 12   | of a touch: its version and node id                            |
 */

import type { Mutation } from "../model/mutation.ts";
import type { Stamp, Version } from "../model/stamp.ts";

const HEADER_BYTES = 32;
const KINDS = ["put", "delete", "invalidate"] as const;
const REPLICATED = 1;
const TOUCH = 2;
const ALL_KEYS = 4;
const TOUCH_BYTES = 12;
const FIRST_BYTES = 16 * 1024;
const NOTHING = Buffer.alloc(0);

export class MutationWriter {
  /** How many mutations are in it. */
  count = 0;
  #buffer = Buffer.allocUnsafeSlow(FIRST_BYTES);
  #length = 0;

  add(mutation: Mutation): void {
    const { kind, stamp, isReplicated, traceContext = "" } = mutation;
    const text = kind === "invalidate" ? (mutation.pattern ?? "") : mutation.key;
    const contentType = kind === "put" ? mutation.value.contentType : "";
    const value = kind === "put" ? mutation.value.bytes : NOTHING;
    const textBytes = Buffer.byteLength(text);
    const traceBytes = Buffer.byteLength(traceContext);
    const touch = kind === "put" ? mutation.touch : null;
    this.#makeRoom(TOUCH_BYTES + HEADER_BYTES + textBytes + contentType.length + traceBytes + value.length);
    const buffer = this.#buffer;
    let at = this.#length;
    buffer[at] = KINDS.indexOf(kind);
    buffer[at + 1] =
      (isReplicated ? REPLICATED : 0) |
      (touch === null ? 0 : TOUCH) |
      (kind === "invalidate" && mutation.pattern === null ? ALL_KEYS : 0);
    buffer.writeUInt16LE(textBytes, at + 2);
    buffer.writeUInt16LE(contentType.length, at + 4);
    buffer.writeUInt16LE(traceBytes, at + 6);
    buffer.writeUInt32LE(value.length, at + 8);
    buffer.writeUInt32LE(stamp.nodeId, at + 12);
    buffer.writeDoubleLE(stamp.version, at + 16);
    buffer.writeDoubleLE(kind === "put" ? mutation.expiresAtMs : 0, at + 24);
    at += HEADER_BYTES;
    at += buffer.utf8Write(text, at);
    at += buffer.latin1Write(contentType, at);
    at += buffer.utf8Write(traceContext, at);
    at += value.copy(buffer, at);
    if (touch !== null) {
      buffer.writeDoubleLE(touch.version, at);
      buffer.writeUInt32LE(touch.nodeId, at + 8);
      at += TOUCH_BYTES;
    }
    this.#length = at;
    this.count += 1;
  }

  /** Gives the bytes away, and begins anew. */
  take(): Uint8Array<ArrayBuffer> {
    const taken = new Uint8Array(this.#buffer.buffer, 0, this.#length);
    this.#buffer = Buffer.allocUnsafeSlow(FIRST_BYTES);
    this.#length = 0;
    this.count = 0;
    return taken;
  }

  #makeRoom(bytes: number): void {
    if (this.#length + bytes <= this.#buffer.length) return;
    const larger = Buffer.allocUnsafeSlow(Math.max(2 * this.#buffer.length, this.#length + bytes));
    this.#buffer.copy(larger, 0, 0, this.#length);
    this.#buffer = larger;
  }
}

/** Reads what a writer has given away. The values are views of it. */
export function readMutations(taken: Uint8Array<ArrayBuffer>): Mutation[] {
  const buffer = Buffer.from(taken.buffer, taken.byteOffset, taken.byteLength);
  const mutations: Mutation[] = [];
  for (let at = 0; at < buffer.length; ) {
    const start = at;
    const flags = buffer[at + 1] ?? 0;
    const textAt = at + HEADER_BYTES;
    const typeAt = textAt + buffer.readUInt16LE(at + 2);
    const traceAt = typeAt + buffer.readUInt16LE(at + 4);
    const valueAt = traceAt + buffer.readUInt16LE(at + 6);
    const end = valueAt + buffer.readUInt32LE(at + 8);
    const text = buffer.toString("utf8", textAt, typeAt);
    const common = {
      stamp: { version: buffer.readDoubleLE(at + 16) as Version, nodeId: buffer.readUInt32LE(at + 12) },
      isReplicated: (flags & REPLICATED) !== 0,
      traceContext: valueAt === traceAt ? undefined : buffer.toString("utf8", traceAt, valueAt),
    };
    const kind = KINDS[buffer[at] ?? 0];
    if (kind === "put") {
      const value = { bytes: buffer.subarray(valueAt, end), contentType: buffer.toString("latin1", typeAt, traceAt) };
      const expiresAtMs = buffer.readDoubleLE(at + 24);
      const touch = (flags & TOUCH) === 0 ? null : stampAt(buffer, end);
      mutations.push({ ...common, kind, key: text, value, expiresAtMs, touch });
      if (touch !== null) at += TOUCH_BYTES;
    } else if (kind === "delete") {
      mutations.push({ ...common, kind, key: text });
    } else {
      mutations.push({ ...common, kind: "invalidate", pattern: (flags & ALL_KEYS) !== 0 ? null : text });
    }
    at += end - start;
  }
  return mutations;
}

function stampAt(buffer: Buffer, at: number): Stamp {
  return { version: buffer.readDoubleLE(at) as Version, nodeId: buffer.readUInt32LE(at + 8) };
}
