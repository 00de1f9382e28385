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
 * | 8      | 2    | index in `STATES`                                              |
 * | 10     | 2    | length of the destinations' names, with line feeds in between  |
 * | 12     | …    | destinations, mutation (`mutation-codec.ts`)                   |
 */

import type { Database, Statement } from "bun:sqlite";
import { crc32 } from "node:zlib";
import { MutationReader, mostBytes, unlessUnreadable, writeMutation } from "../model/mutation-codec.ts";
import { isSame } from "../model/stamp.ts";
import { GrowingBuffer } from "../runtime/growing-buffer.ts";
import { type OutboxRow, rowOf } from "./entry.ts";

export const JOURNAL_SCHEMA = `
  CREATE TABLE IF NOT EXISTS journal (id INTEGER PRIMARY KEY, queued_at INTEGER NOT NULL, frames BLOB NOT NULL);
  CREATE TABLE IF NOT EXISTS journal_damaged (id INTEGER PRIMARY KEY, queued_at INTEGER NOT NULL, frames BLOB NOT NULL);
`;

/** It waits; or it does not wait here any more, or nothing that came for its destination before (`gone-rows.ts`). */
const STATES = ["waits", "gone", "all-gone"] as const;

export interface Journaled extends OutboxRow {
  /** Left out = it waits. */
  readonly state?: (typeof STATES)[number];
}

/** What one row of the journal holds. */
export interface JournalGroup {
  readonly id: number;
  /** Ms since the Unix epoch. */
  readonly queuedAtMs: number;
  readonly rows: readonly Journaled[];
  /** Some of it is not what was written. */
  readonly isDamaged: boolean;
}

export interface JournalRow {
  readonly id: number;
  readonly queued_at: number;
  readonly frames: Uint8Array;
}

const HEADER_BYTES = 12;
const MOST_UTF8_BYTES = 3;
const FIRST_BYTES = 64 * 1024;
const MOST_KEPT_BYTES = 1024 * 1024;

/** Everything here is synchronous; transactions are the caller's. */
export class WriteAheadLog {
  readonly #insert: Statement;
  readonly #removeUpTo: Statement;
  readonly #next: Statement<JournalRow>;
  readonly #setAside: Statement;
  readonly #frames = new GrowingBuffer(FIRST_BYTES);

  constructor(database: Database, keep: <S extends Statement>(statement: S) => S) {
    this.#insert = keep(database.prepare("INSERT INTO journal VALUES (?, ?, ?)"));
    this.#removeUpTo = keep(database.prepare("DELETE FROM journal WHERE id <= ?"));
    this.#next = keep(database.prepare("SELECT id, queued_at, frames FROM journal WHERE id > ? ORDER BY id LIMIT 1"));
    this.#setAside = keep(database.prepare("INSERT OR IGNORE INTO journal_damaged SELECT * FROM journal WHERE id = ?"));
  }

  append(id: number, queuedAtMs: number, rows: readonly Journaled[]): void {
    this.#encode(rows);
    this.#insert.run(id, queuedAtMs, this.#frames.written());
    this.#frames.clear(MOST_KEPT_BYTES);
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

  #encode(rows: readonly Journaled[]): void {
    for (let first = 0; first < rows.length; ) {
      const row = rows[first];
      if (row === undefined) break;
      let destinations = row.destination;
      // What goes to the backend and to peers differs in the destination alone.
      for (first += 1; first < rows.length; first++) {
        const next = rows[first];
        if (next === undefined || !areAlike(row, next)) break;
        destinations += `\n${next.destination}`;
      }
      this.#write(row, destinations);
    }
  }

  #write({ mutation, state = "waits" }: Journaled, destinations: string): void {
    const most = HEADER_BYTES + MOST_UTF8_BYTES * destinations.length + mostBytes(mutation);
    const buffer = this.#frames.room(most);
    const start = this.#frames.length;
    const namesBytes = buffer.utf8Write(destinations, start + HEADER_BYTES);
    const end = writeMutation(buffer, start + HEADER_BYTES + namesBytes, mutation);
    buffer.writeUInt32LE(end - start, start + 4);
    buffer.writeUInt16LE(STATES.indexOf(state), start + 8);
    buffer.writeUInt16LE(namesBytes, start + 10);
    buffer.writeUInt32LE(crc32(buffer.subarray(start + 4, end)), start);
    this.#frames.length = end;
  }
}

function areAlike(a: Journaled, b: Journaled): boolean {
  if (a.state !== b.state) return false;
  if (a.mutation === b.mutation) return true;
  // What is gone is told by its key and its stamp.
  return a.state !== undefined && a.key === b.key && isSame(a.mutation.stamp, b.mutation.stamp);
}

/** Frames after one whose length can't be trusted are lost with it. */
export function groupOf({ id, queued_at: queuedAtMs, frames }: JournalRow): JournalGroup {
  const buffer = Buffer.from(frames.buffer, frames.byteOffset, frames.byteLength);
  const rows: Journaled[] = [];
  let isDamaged = false;
  for (let at = 0; at < buffer.length; ) {
    const length = at + HEADER_BYTES <= buffer.length ? buffer.readUInt32LE(at + 4) : 0;
    const end = at + length;
    if (length < HEADER_BYTES || end > buffer.length) return { id, queuedAtMs, rows, isDamaged: true };
    const isWhole = crc32(buffer.subarray(at + 4, end)) === buffer.readUInt32LE(at);
    const frame = isWhole ? unlessUnreadable(() => readFrame(buffer, at, end)) : null;
    if (frame === null) isDamaged = true;
    else rows.push(...frame);
    at = end;
  }
  return { id, queuedAtMs, rows, isDamaged };
}

function readFrame(buffer: Buffer, start: number, end: number): Journaled[] {
  const namesAt = start + HEADER_BYTES;
  const mutationAt = namesAt + buffer.readUInt16LE(start + 10);
  const mutation = new MutationReader(buffer, mutationAt, end).next();
  const state = STATES[buffer.readUInt16LE(start + 8)] ?? "waits";
  const rows = buffer
    .toString("utf8", namesAt, mutationAt)
    .split("\n")
    .map((destination) => rowOf(destination, mutation));
  return state === "waits" ? rows : rows.map((row) => ({ ...row, state }));
}
