/**
 * Mutations as bytes: what they have in common with the one before is left out.
 *
 * | part         | form                                                             | where                   |
 * |--------------|------------------------------------------------------------------|-------------------------|
 * | head         | one byte: kind in the low two bits, then the flags below         | always                  |
 * | node id      | varint                                                           | `HAS_NODE_ID`           |
 * | version      | varint, difference to the version before                         | always                  |
 * | key, pattern | varint of the length, UTF-8                                      | not with `IS_EVERYTHING`|
 * | content type | varint of the length, ASCII                                      | `HAS_TYPE`              |
 * | expiry       | varint, difference to the expiry before, twice; +1 = below zero  | `HAS_EXPIRY`            |
 * | touch        | varint of its version, varint of its node id                     | `HAS_TOUCH`             |
 * | value        | varint of the length, bytes                                      | puts                    |
 */

import { CONTENT_TYPE_FORM } from "../../engine/engine.ts";
import { JSON_CONTENT_TYPE, MAX_CONTENT_TYPE_BYTES, MAX_VALUE_BYTES, NEVER } from "../../model/entry.ts";
import { MAX_PATTERN_BYTES } from "../../model/glob.ts";
import { isJson } from "../../model/json-grammar.ts";
import { MAX_KEY_BYTES } from "../../model/key.ts";
import { type Stamp, toVersion } from "../../model/stamp.ts";
import type { ByteReader } from "./byte-reader.ts";
import type { ByteWriter } from "./byte-writer.ts";
import type { PeerMutation } from "./peer-mutation.ts";
import { WireError } from "./wire-error.ts";

const PUT = 0;
const DELETE = 1;
const OUTDATED = 2;
const INVALIDATE = 3;
const KIND_MASK = 3;
const HAS_NODE_ID = 4;
const IS_OLDER = 8;
const HAS_TYPE = 16;
const HAS_EXPIRY = 32;
const IS_EVERYTHING = 64;
const HAS_TOUCH = 128;

const CONTROL_CHARACTER = /\p{Cc}/u;
const MAX_NODE_ID = 0xffff_ffff;
/** The most mutations in one message. */
const MAX_MUTATIONS = 65_536;

export function writeMutations(writer: ByteWriter, mutations: readonly PeerMutation[]): void {
  const last = { version: 0, nodeId: 0, expiresAtMs: 0 };
  writer.varint(mutations.length);
  for (const mutation of mutations) {
    const { version, nodeId } = mutation.stamp;
    writer.byte(headOf(mutation, nodeId !== last.nodeId, version < last.version));
    if (nodeId !== last.nodeId) writer.varint(nodeId);
    writer.varint(Math.abs(version - last.version));
    last.version = version;
    last.nodeId = nodeId;
    if (mutation.kind === "invalidate") {
      if (mutation.pattern !== null) writer.text(mutation.pattern);
      continue;
    }
    writer.text(mutation.key);
    if (mutation.kind !== "put") continue;
    if (mutation.contentType !== JSON_CONTENT_TYPE) writer.text(mutation.contentType);
    if (mutation.expiresAtMs !== NEVER) {
      const difference = mutation.expiresAtMs - last.expiresAtMs;
      writer.varint(difference >= 0 ? difference * 2 : -difference * 2 + 1);
      last.expiresAtMs = mutation.expiresAtMs;
    }
    if (mutation.touch !== null) {
      writer.varint(mutation.touch.version);
      writer.varint(mutation.touch.nodeId);
    }
    writer.block(mutation.value);
  }
}

/** The values are views of the message. Throws `WireError`. */
export function readMutations(reader: ByteReader): PeerMutation[] {
  const count = reader.varint();
  if (count > MAX_MUTATIONS) throw new WireError(`the message has ${count} mutations, more than ${MAX_MUTATIONS}`);
  const mutations: PeerMutation[] = [];
  const last = { version: 0, nodeId: 0, expiresAtMs: 0 };
  for (let at = 0; at < count; at++) {
    const head = reader.byte();
    if ((head & HAS_NODE_ID) !== 0) last.nodeId = reader.varint();
    const difference = reader.varint();
    last.version += (head & IS_OLDER) !== 0 ? -difference : difference;
    const stamp = stampOf(last.version, last.nodeId);
    const kind = head & KIND_MASK;
    if (kind === INVALIDATE) {
      const pattern = (head & IS_EVERYTHING) !== 0 ? null : nonEmpty(reader.text(MAX_PATTERN_BYTES));
      mutations.push({ kind: "invalidate", pattern, stamp });
      continue;
    }
    const key = nonEmpty(reader.text(MAX_KEY_BYTES));
    if (CONTROL_CHARACTER.test(key)) throw new WireError("the message has a key with control characters");
    if (kind !== PUT) {
      mutations.push({ kind: kind === DELETE ? "delete" : "outdated", key, stamp });
      continue;
    }
    const contentType = (head & HAS_TYPE) !== 0 ? reader.text(MAX_CONTENT_TYPE_BYTES) : JSON_CONTENT_TYPE;
    if (!CONTENT_TYPE_FORM.test(contentType)) throw new WireError("the message has an invalid content type");
    let expiresAtMs = NEVER;
    if ((head & HAS_EXPIRY) !== 0) {
      const folded = reader.varint();
      last.expiresAtMs += folded % 2 === 0 ? folded / 2 : -(folded - 1) / 2;
      expiresAtMs = last.expiresAtMs;
    }
    const touch = (head & HAS_TOUCH) === 0 ? null : stampOf(reader.varint(), reader.varint());
    const value = reader.block(MAX_VALUE_BYTES);
    if (contentType === JSON_CONTENT_TYPE && !isJson(value, 0, value.length)) {
      throw new WireError(`the message has a value of ${JSON.stringify(key)} that is not JSON`);
    }
    mutations.push({ kind: "put", key, value, contentType, expiresAtMs, stamp, touch });
  }
  return mutations;
}

function headOf(mutation: PeerMutation, hasNodeId: boolean, isOlder: boolean): number {
  const stamp = (hasNodeId ? HAS_NODE_ID : 0) | (isOlder ? IS_OLDER : 0);
  switch (mutation.kind) {
    case "put":
      return (
        PUT |
        stamp |
        (mutation.contentType === JSON_CONTENT_TYPE ? 0 : HAS_TYPE) |
        (mutation.expiresAtMs === NEVER ? 0 : HAS_EXPIRY) |
        (mutation.touch === null ? 0 : HAS_TOUCH)
      );
    case "delete":
      return DELETE | stamp;
    case "outdated":
      return OUTDATED | stamp;
    case "invalidate":
      return INVALIDATE | stamp | (mutation.pattern === null ? IS_EVERYTHING : 0);
  }
}

function stampOf(version: number, nodeId: number): Stamp {
  if (nodeId > MAX_NODE_ID || version < 0 || !Number.isSafeInteger(version)) {
    throw new WireError("the message has an invalid stamp");
  }
  return { version: toVersion(version), nodeId };
}

function nonEmpty(text: string): string {
  if (text === "") throw new WireError("the message has an empty key or pattern");
  return text;
}
