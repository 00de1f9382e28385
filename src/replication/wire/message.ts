/**
 * One message between two nodes, a request or its answer, as the body of `POST /api/replication`.
 *
 * | offset | size | meaning                                                                   |
 * |--------|------|---------------------------------------------------------------------------|
 * | 0      | 1    | 0x53                                                                      |
 * | 1      | 1    | version of this form, `PROTOCOL`                                          |
 * | 2      | 1    | what it is: the index in `MESSAGE_KINDS`                                  |
 * | 3      | 1    | 0 = as it is, 1 = compressed by zstd                                      |
 * | 4      | 4    | length of the head                                                        |
 * | 8      | 4    | count of the mutations                                                    |
 * | 12     | …    | head (JSON), mutations (`mutation-codec.ts`)                              |
 *
 * From offset 4 on it is compressed as a whole. Trace contexts go in the header of the call, not with the mutations.
 */

import { zstdDecompressSync } from "node:zlib";
import { JSON_CONTENT_TYPE, MAX_VALUE_BYTES } from "../../model/entry.ts";
import { isJson } from "../../model/json-grammar.ts";
import { hasValue, type Mutation } from "../../model/mutation.ts";
import { MutationFormatError, MutationReader, mostBytes, writeMutation } from "../../model/mutation-codec.ts";
import { GrowingBuffer } from "../../runtime/growing-buffer.ts";
import { MessageHead } from "./message-head.ts";
import { WireError } from "./wire-error.ts";

/** 3: mutations as `mutation-codec.ts` writes them. */
export const PROTOCOL = 3;

const MESSAGE_KINDS = ["hello", "batch", "page", "digest", "compare", "repair", "answer"] as const;
export type MessageKind = (typeof MESSAGE_KINDS)[number];

/** The largest message: one value of the maximum size, and a batch around it. */
export const MAX_MESSAGE_BYTES = MAX_VALUE_BYTES + 2 * 1024 * 1024;
const CONTROL_CHARACTER = /\p{Cc}/u;
/** Mutations in one message. */
const MAX_MUTATIONS = 65_536;
const LENGTHS_BYTES = 8;
const MOST_UTF8_BYTES = 3;
const FIRST_BYTES = 4 * 1024;
const MAX_HEAD_BYTES = 1024 * 1024;

const MARK = 0x53;
const PREFIX_BYTES = 4;
const PLAIN = 0;
const ZSTD = 1;
/** Smaller messages are not worth compressing. */
const COMPRESSED_FROM_BYTES = 512;
/** The fastest of the usual levels: 100 kB of JSON to a quarter in 0.2 ms, measured. */
const COMPRESSION = { level: 1 };

export interface Message {
  readonly kind: MessageKind;
  readonly head: MessageHead;
  readonly mutations: Mutation[];
}

export type HeadMembers = Readonly<Record<string, string | number | boolean | null | readonly number[]>>;

export function encodeMessage(kind: MessageKind, head: HeadMembers, mutations: readonly Mutation[] = []): Buffer {
  const plain = plainMessage(JSON.stringify(head), mutations);
  const packed = plain.length < COMPRESSED_FROM_BYTES ? plain : Bun.zstdCompressSync(plain, COMPRESSION);
  const isPacked = packed.length < plain.length;
  const message = Buffer.allocUnsafe(PREFIX_BYTES + (isPacked ? packed : plain).length);
  message[0] = MARK;
  message[1] = PROTOCOL;
  message[2] = MESSAGE_KINDS.indexOf(kind);
  message[3] = isPacked ? ZSTD : PLAIN;
  message.set(isPacked ? packed : plain, PREFIX_BYTES);
  return message;
}

/** Keeps no reference to `bytes`, and decompresses at most `limitBytes`. Throws `WireError`. */
export function decodeMessage(bytes: Buffer, limitBytes = MAX_MESSAGE_BYTES): Message {
  if (bytes.length < PREFIX_BYTES || bytes[0] !== MARK)
    throw new WireError("this is not a message of a ServCache node");
  if (bytes[1] !== PROTOCOL) {
    throw new WireError(
      `the message has protocol version ${bytes[1]}, this node speaks ${PROTOCOL}: run the same version on both`,
    );
  }
  const kind = MESSAGE_KINDS[bytes[2] ?? MESSAGE_KINDS.length];
  if (kind === undefined) throw new WireError("the message has an unknown kind");
  const plain = unpacked(bytes[3], bytes.subarray(PREFIX_BYTES), limitBytes);
  if (plain.length < LENGTHS_BYTES) throw new WireError("the message ends too early");
  const headEnd = LENGTHS_BYTES + plain.readUInt32LE(0);
  if (headEnd > Math.min(plain.length, MAX_HEAD_BYTES)) throw new WireError("the message has a head that is too long");
  const head = MessageHead.parse(plain.toString("utf8", LENGTHS_BYTES, headEnd));
  return { kind, head, mutations: readMutations(plain, headEnd, plain.readUInt32LE(4)) };
}

/** The bytes of a message that are packed. */
function plainMessage(head: string, mutations: readonly Mutation[]): Buffer {
  const writer = new GrowingBuffer(FIRST_BYTES);
  const start = writer.room(LENGTHS_BYTES + MOST_UTF8_BYTES * head.length);
  writer.length = LENGTHS_BYTES + start.utf8Write(head, LENGTHS_BYTES);
  start.writeUInt32LE(writer.length - LENGTHS_BYTES, 0);
  start.writeUInt32LE(mutations.length, 4);
  for (const mutation of mutations) {
    writer.length = writeMutation(writer.room(mostBytes(mutation)), writer.length, mutation, false);
  }
  return writer.written();
}

function readMutations(plain: Buffer, start: number, count: number): Mutation[] {
  if (count > MAX_MUTATIONS) throw new WireError(`the message has ${count} mutations, more than ${MAX_MUTATIONS}`);
  const reader = new MutationReader(plain, start);
  const mutations: Mutation[] = [];
  try {
    while (mutations.length < count) mutations.push(checked(reader.next()));
  } catch (cause) {
    if (!(cause instanceof MutationFormatError)) throw cause;
    throw new WireError(`the message can't be read: ${cause.message}`, { cause });
  }
  if (!reader.isAtEnd) throw new WireError("the message has bytes behind its end");
  return mutations;
}

/** What a client could not have put is not taken from a peer either. */
function checked(mutation: Mutation): Mutation {
  if (mutation.kind === "invalidate") return mutation;
  const { key } = mutation;
  if (CONTROL_CHARACTER.test(key)) throw new WireError("the message has a key with control characters");
  if (!hasValue(mutation)) return mutation;
  const { bytes, contentType } = mutation.value;
  if (contentType === JSON_CONTENT_TYPE && !isJson(bytes, 0, bytes.length)) {
    throw new WireError(`the message has a value of ${JSON.stringify(key)} that is not JSON`);
  }
  return mutation;
}

function unpacked(form: number | undefined, packed: Buffer, limitBytes: number): Buffer {
  // A copy: the values of the mutations outlive the buffer of the message.
  if (form === PLAIN) return Buffer.from(packed);
  if (form !== ZSTD) throw new WireError("the message has an unknown encoding");
  try {
    return zstdDecompressSync(packed, { maxOutputLength: limitBytes });
  } catch (cause) {
    throw new WireError("the message can't be decompressed", { cause });
  }
}
