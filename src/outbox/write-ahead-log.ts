/**
 * The journal of the outbox: what was appended together stands in one row, written in one go.
 *
 * Most of what waits for a backend that answers is done a moment later. To give each mutation a row of its own, with its
 * indexes, only to take it out again, costs many times what it costs to append it to a journal.
 *
 * | offset | size | of a frame                                                     |
 * |--------|------|----------------------------------------------------------------|
 * | 0      | 4    | CRC-32 of the rest of the frame                                |
 * | 4      | 4    | length of the whole frame                                      |
 * | 8      | 1    | kind: number in `OUTBOX_KINDS`                                |
 * | 9      | 1    | 1 = has a value; 2 = it is gone, see `gone-rows.ts`            |
 * | 10     | 2    | length of the destinations' names, with line feeds in between  |
 * | 12     | 2    | length of the key                                              |
 * | 14     | 2    | length of the content type                                     |
 * | 16     | 2    | length of the trace context                                    |
 * | 18     | 2    | nothing                                                        |
 * | 20     | 4    | node id                                                         |
 * | 24     | 8    | version                                                        |
 * | 32     | 8    | expiry                                                         |
 * | 40     | …    | destinations, key, content type, trace context, value          |
 */

import type { Database, Statement } from "bun:sqlite";
import { crc32 } from "node:zlib";
import type { Version } from "../model/stamp.ts";
import { OUTBOX_KINDS, type OutboxMutation } from "./entry.ts";

export const JOURNAL_SCHEMA = `
  CREATE TABLE IF NOT EXISTS journal (id INTEGER PRIMARY KEY, queued_at INTEGER NOT NULL, frames BLOB NOT NULL);
  CREATE TABLE IF NOT EXISTS journal_damaged (id INTEGER PRIMARY KEY, queued_at INTEGER NOT NULL, frames BLOB NOT NULL);
`;

/** A mutation that waits, or the mark that it does not wait here any more. */
export interface Journaled extends OutboxMutation {
  readonly isGone?: true;
}

/** What one row of the journal holds. */
export interface JournalGroup {
  readonly id: number;
  /** Ms since the Unix epoch. */
  readonly queuedAtMs: number;
  readonly mutations: readonly Journaled[];
  /** Some of it is not what was written. */
  readonly isDamaged: boolean;
}

export interface JournalRow {
  readonly id: number;
  readonly queued_at: number;
  readonly frames: Uint8Array;
}

const HEADER_BYTES = 40;
const HAS_VALUE = 1;
const IS_GONE = 2;
const FIRST_BYTES = 64 * 1024;
const MOST_KEPT_BYTES = 1024 * 1024;

/** Everything here is synchronous; transactions are the caller's. */
export class WriteAheadLog {
  readonly #insert: Statement;
  readonly #removeUpTo: Statement;
  readonly #next: Statement<JournalRow>;
  readonly #setAside: Statement;
  #buffer = Buffer.allocUnsafeSlow(FIRST_BYTES);

  constructor(database: Database, keep: <S extends Statement>(statement: S) => S) {
    this.#insert = keep(database.prepare("INSERT INTO journal VALUES (?, ?, ?)"));
    this.#removeUpTo = keep(database.prepare("DELETE FROM journal WHERE id <= ?"));
    this.#next = keep(database.prepare("SELECT id, queued_at, frames FROM journal WHERE id > ? ORDER BY id LIMIT 1"));
    this.#setAside = keep(database.prepare("INSERT OR IGNORE INTO journal_damaged SELECT * FROM journal WHERE id = ?"));
  }

  append(id: number, queuedAtMs: number, mutations: readonly Journaled[]): void {
    this.#insert.run(id, queuedAtMs, this.#encode(mutations));
    if (this.#buffer.length > MOST_KEPT_BYTES) this.#buffer = Buffer.allocUnsafeSlow(FIRST_BYTES);
  }

  removeUpTo(id: number): void {
    this.#removeUpTo.run(id);
  }

  /** Keeps a damaged row for whoever may want to look into it. */
  setAside(id: number): void {
    this.#setAside.run(id);
  }

  /** All of it, the oldest first. */
  *groups(): Generator<JournalGroup> {
    for (let id = Number.MIN_SAFE_INTEGER; ; ) {
      const row = this.#next.get(id);
      if (row === null) return;
      id = row.id;
      yield groupOf(row);
    }
  }

  #encode(mutations: readonly Journaled[]): Buffer {
    let at = 0;
    for (let first = 0; first < mutations.length; ) {
      const mutation = mutations[first];
      if (mutation === undefined) break;
      let destinations = mutation.destination;
      // What goes to the backend and to peers differs in the destination alone.
      for (first += 1; first < mutations.length; first++) {
        const next = mutations[first];
        if (next === undefined || !isSame(mutation, next)) break;
        destinations += `\n${next.destination}`;
      }
      at = this.#write(mutation, destinations, at);
    }
    return this.#buffer.subarray(0, at);
  }

  #write(mutation: Journaled, destinations: string, start: number): number {
    const { key, contentType, traceContext = "", value, stamp } = mutation;
    const letters = destinations.length + key.length + contentType.length + traceContext.length;
    this.#makeRoom(start, HEADER_BYTES + 3 * letters + (value?.length ?? 0));
    const buffer = this.#buffer;
    const keyAt = start + HEADER_BYTES + buffer.utf8Write(destinations, start + HEADER_BYTES);
    const typeAt = keyAt + buffer.utf8Write(key, keyAt);
    const traceAt = typeAt + buffer.latin1Write(contentType, typeAt);
    let at = traceAt + (traceContext === "" ? 0 : buffer.utf8Write(traceContext, traceAt));
    buffer.writeUInt16LE(keyAt - start - HEADER_BYTES, start + 10);
    buffer.writeUInt16LE(typeAt - keyAt, start + 12);
    buffer.writeUInt16LE(traceAt - typeAt, start + 14);
    buffer.writeUInt16LE(at - traceAt, start + 16);
    if (value !== null) at += value.copy(buffer, at);
    buffer[start + 8] = OUTBOX_KINDS.indexOf(mutation.kind);
    buffer[start + 9] = (value === null ? 0 : HAS_VALUE) | (mutation.isGone === true ? IS_GONE : 0);
    buffer.writeUInt16LE(0, start + 18);
    buffer.writeUInt32LE(stamp.nodeId, start + 20);
    buffer.writeDoubleLE(stamp.version, start + 24);
    buffer.writeDoubleLE(mutation.expiresAtMs, start + 32);
    buffer.writeUInt32LE(at - start, start + 4);
    buffer.writeUInt32LE(crc32(buffer.subarray(start + 4, at)), start);
    return at;
  }

  #makeRoom(used: number, more: number): void {
    if (used + more <= this.#buffer.length) return;
    const larger = Buffer.allocUnsafeSlow(Math.max(2 * this.#buffer.length, used + more));
    this.#buffer.copy(larger, 0, 0, used);
    this.#buffer = larger;
  }
}

function isSame(a: Journaled, b: Journaled): boolean {
  return (
    a.key === b.key &&
    a.kind === b.kind &&
    a.isGone === b.isGone &&
    a.value === b.value &&
    a.expiresAtMs === b.expiresAtMs &&
    a.contentType === b.contentType &&
    a.stamp.version === b.stamp.version &&
    a.stamp.nodeId === b.stamp.nodeId
  );
}

/** Frames after one whose length can't be trusted are lost with it. */
export function groupOf({ id, queued_at: queuedAtMs, frames }: JournalRow): JournalGroup {
  const buffer = Buffer.from(frames.buffer, frames.byteOffset, frames.byteLength);
  const mutations: Journaled[] = [];
  let isDamaged = false;
  for (let at = 0; at < buffer.length; ) {
    const length = at + HEADER_BYTES <= buffer.length ? buffer.readUInt32LE(at + 4) : 0;
    const end = at + length;
    if (length < HEADER_BYTES || end > buffer.length) return { id, queuedAtMs, mutations, isDamaged: true };
    if (crc32(buffer.subarray(at + 4, end)) === buffer.readUInt32LE(at)) mutations.push(...readFrame(buffer, at, end));
    else isDamaged = true;
    at = end;
  }
  return { id, queuedAtMs, mutations, isDamaged };
}

function readFrame(buffer: Buffer, start: number, end: number): Journaled[] {
  let at = start + HEADER_BYTES;
  const [destinations = "", key = "", contentType = "", traceContext = ""] = [0, 1, 2, 3].map((number) => {
    const from = at;
    at += buffer.readUInt16LE(start + 10 + 2 * number);
    return buffer.toString("utf8", from, at);
  });
  const flags = buffer[start + 9] ?? 0;
  const common = {
    key,
    kind: OUTBOX_KINDS[buffer[start + 8] ?? 0] ?? "delete",
    value: (flags & HAS_VALUE) !== 0 ? buffer.subarray(at, end) : null,
    contentType,
    expiresAtMs: buffer.readDoubleLE(start + 32),
    stamp: { version: buffer.readDoubleLE(start + 24) as Version, nodeId: buffer.readUInt32LE(start + 20) },
    traceContext: traceContext === "" ? undefined : traceContext,
  };
  const isGone = (flags & IS_GONE) !== 0 ? ({ isGone: true } as const) : {};
  return destinations.split("\n").map((destination) => ({ ...common, ...isGone, destination }));
}
