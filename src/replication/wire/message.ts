/**
 * One message between two nodes, a request or its answer, as the body of `POST /api/replication`.
 *
 * | offset | size | meaning                                                                   |
 * |--------|------|---------------------------------------------------------------------------|
 * | 0      | 1    | 0x53                                                                      |
 * | 1      | 1    | version of this form, `PROTOCOL`                                          |
 * | 2      | 1    | what it is: the index in `MESSAGE_KINDS`                                  |
 * | 3      | 1    | 0 = as it is, 1 = compressed by zstd                                      |
 * | 4      | …    | varint of the head's length, the head (JSON), mutations (`mutation-codec`) |
 */

import { zstdDecompressSync } from "node:zlib";
import { MAX_VALUE_BYTES } from "../../model/entry.ts";
import { ByteReader } from "./byte-reader.ts";
import { ByteWriter } from "./byte-writer.ts";
import { MessageHead } from "./message-head.ts";
import { readMutations, writeMutations } from "./mutation-codec.ts";
import type { PeerMutation } from "./peer-mutation.ts";
import { WireError } from "./wire-error.ts";

/**
 * 2: a put may be touched, and a batch tells what its sender knows (`known`) and what could not be placed (`unplaced`);
 * a node with version 1 would count unfinished batches as done.
 */
export const PROTOCOL = 2;

const MESSAGE_KINDS = ["hello", "batch", "page", "digest", "compare", "repair", "answer"] as const;
export type MessageKind = (typeof MESSAGE_KINDS)[number];

/** The largest message: one value of the maximum size, and a batch around it. */
export const MAX_MESSAGE_BYTES = MAX_VALUE_BYTES + 2 * 1024 * 1024;
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
  readonly mutations: PeerMutation[];
}

export type HeadMembers = Readonly<Record<string, string | number | boolean | null | readonly number[]>>;

export function encodeMessage(kind: MessageKind, head: HeadMembers, mutations: readonly PeerMutation[] = []): Buffer {
  const writer = new ByteWriter();
  writer.text(JSON.stringify(head));
  writeMutations(writer, mutations);
  const plain = writer.written();
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
  const reader = new ByteReader(unpacked(bytes[3], bytes.subarray(PREFIX_BYTES), limitBytes));
  const head = MessageHead.parse(reader.text(MAX_HEAD_BYTES));
  const mutations = readMutations(reader);
  if (!reader.isAtEnd) throw new WireError("the message has bytes behind its end");
  return { kind, head, mutations };
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
