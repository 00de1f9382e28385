/**
 * The outbox's table: one row per (destination, key), the mutation in one column as `mutation-codec.ts` writes it; the
 * others are what the queue goes by. Everything here is synchronous; transactions are the caller's.
 *
 * Rows keep their place in the queue (`id`) when a newer mutation of the key replaces what waits, so a key that is written
 * all the time is not put off for ever.
 */

import type { Database, Statement } from "bun:sqlite";
import { crc32 } from "node:zlib";
import type { Mutation } from "../model/mutation.ts";
import {
  decodeMutation,
  encodeMutation,
  readSummary,
  SUMMARY_BYTES,
  unlessUnreadable,
} from "../model/mutation-codec.ts";
import type { Version } from "../model/stamp.ts";
import { costBytes, type DeadLetter, type OutboxEntry, type OutboxRow } from "./entry.ts";
import { WriteAheadLog } from "./write-ahead-log.ts";

/** Ready rows are taken by id; delayed ones when they are due; dead ones wait for an operator. */
const READY = 0;
const DELAYED = 1;
const DEAD = 2;

export const SCHEMA = `
  CREATE TABLE IF NOT EXISTS entries (
    id INTEGER PRIMARY KEY, destination TEXT NOT NULL, key TEXT NOT NULL, version INTEGER NOT NULL,
    node_id INTEGER NOT NULL, state INTEGER NOT NULL, attempts INTEGER NOT NULL, due_at INTEGER NOT NULL,
    queued_at INTEGER NOT NULL, reason TEXT NOT NULL, checksum INTEGER NOT NULL, cost INTEGER NOT NULL,
    mutation BLOB NOT NULL);
  CREATE UNIQUE INDEX IF NOT EXISTS entry_of_key ON entries (destination, key);
  CREATE INDEX IF NOT EXISTS ready ON entries (destination, id) WHERE state = ${READY};
  CREATE INDEX IF NOT EXISTS delayed ON entries (destination, due_at) WHERE state = ${DELAYED};
  CREATE INDEX IF NOT EXISTS dead ON entries (destination, id) WHERE state = ${DEAD};
  CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, number INTEGER NOT NULL) WITHOUT ROWID;
  INSERT OR IGNORE INTO meta VALUES ('commits', 0), ('newest', 0);
`;

/** What is due later was delayed before the clock was set back: it is due. */
const LONGEST_DELAY_MS = 60_000;
const SHRINK_STEPS = 20;
const SHRINK_PAGES = 500;

/** A row without its mutation. */
export interface Head {
  readonly id: number;
  readonly key: string;
  readonly version: Version;
  readonly nodeId: number;
  readonly state: number;
  readonly cost: number;
  readonly queued_at: number;
}

export interface Row extends Head {
  readonly destination: string;
  readonly attempts: number;
  readonly reason: string;
  readonly checksum: number;
  readonly mutation: Uint8Array;
}

export interface Totals {
  readonly destination: string;
  readonly pending: number;
  readonly dead: number;
  readonly bytes: number;
}

const HEAD = "id, key, version, node_id AS nodeId, state, cost, queued_at";
/** Of a `Row`. */
export const ROW_COLUMNS = `${HEAD}, destination, attempts, reason, checksum, mutation`;

export class OutboxStore {
  readonly #find: Statement<Head>;
  readonly #read: Statement<Row>;
  readonly #insert: Statement;
  readonly #replace: Statement;
  readonly #remove: Statement;
  readonly #removeAll: Statement<{ cost: number }>;
  readonly #ready: Statement<Head>;
  readonly #due: Statement<Head>;
  readonly #delay: Statement;
  readonly #bury: Statement;
  readonly #dead: Statement<Row>;
  readonly #revive: Statement;
  readonly #oldest: Statement<{ queued_at: number | null }>;
  readonly #soonest: Statement<{ due_at: number | null }>;
  readonly #note: Statement;
  readonly #begin: Statement;
  readonly #commit: Statement;

  readonly journal: WriteAheadLog;

  /** Closing the file waits for these: one that is left open keeps the lock. */
  readonly #statements: Statement[] = [];

  constructor(private readonly database: Database) {
    this.#find = this.#keep(database.prepare(`SELECT ${HEAD} FROM entries WHERE destination = ? AND key = ?`));
    this.#read = this.#keep(database.prepare(`SELECT ${ROW_COLUMNS} FROM entries WHERE id = ?`));
    this.#insert = this.#keep(
      database.prepare(`INSERT INTO entries VALUES (?1, ?2, ?3, ?4, ?5, ${READY}, 0, 0, ?6, '', ?7, ?8, ?9)`),
    );
    this.#replace = this.#keep(
      database.prepare(
        `UPDATE entries SET version = ?2, node_id = ?3, state = ${READY}, attempts = 0, due_at = 0, reason = '',
       checksum = ?4, cost = ?5, mutation = ?6 WHERE id = ?1`,
      ),
    );
    this.#remove = this.#keep(database.prepare("DELETE FROM entries WHERE id = ?"));
    this.#removeAll = this.#keep(
      database.prepare("DELETE FROM entries WHERE id IN (SELECT value FROM json_each(?)) RETURNING cost"),
    );
    this.#ready = this.#keep(
      database.prepare(
        `SELECT ${HEAD} FROM entries WHERE destination = ? AND state = ${READY} AND id > ? ORDER BY id LIMIT ?`,
      ),
    );
    this.#due = this.#keep(
      database.prepare(
        `${soonestWhere("due_at <= ?2")} UNION ALL ${soonestWhere(`due_at > ?2 + ${LONGEST_DELAY_MS}`)} LIMIT ?3`,
      ),
    );
    this.#delay = this.#keep(
      database.prepare(`UPDATE entries SET state = ${DELAYED}, attempts = ?2, due_at = ?3, reason = ?4 WHERE id = ?1`),
    );
    this.#bury = this.#keep(
      database.prepare(`UPDATE entries SET state = ${DEAD}, attempts = ?2, reason = ?3 WHERE id = ?1`),
    );
    this.#dead = this.#keep(
      database.prepare(
        `SELECT ${HEAD}, destination, attempts, reason, checksum, substr(mutation, 1, ${SUMMARY_BYTES}) AS mutation
       FROM entries WHERE destination = ? AND state = ${DEAD} AND id > ? ORDER BY id LIMIT ?`,
      ),
    );
    this.#revive = this.#keep(
      database.prepare(
        `UPDATE entries SET state = ${READY}, attempts = 0, reason = '' WHERE id = ? AND state = ${DEAD}`,
      ),
    );
    this.#oldest = this.#keep(
      database.prepare(
        `SELECT min(queued_at) AS queued_at FROM (
         SELECT queued_at FROM (SELECT queued_at FROM entries WHERE destination = ? AND state = ${READY} ORDER BY id LIMIT 1)
         UNION ALL SELECT min(queued_at) FROM entries WHERE destination = ? AND state = ${DELAYED})`,
      ),
    );
    this.#soonest = this.#keep(
      database.prepare(`SELECT min(due_at) AS due_at FROM entries WHERE destination = ? AND state = ${DELAYED}`),
    );
    this.journal = new WriteAheadLog(database, (statement) => this.#keep(statement));
    this.#note = this.#keep(
      database.prepare(
        `UPDATE meta SET number = max(number, CASE name WHEN 'commits' THEN ?1 ELSE ?2 END)
         WHERE name IN ('commits', 'newest')`,
      ),
    );
    this.#begin = this.#keep(database.prepare("BEGIN IMMEDIATE"));
    this.#commit = this.#keep(database.prepare("COMMIT"));
  }

  /** All of `work` or nothing. */
  transaction(work: () => void): void {
    this.#begin.run();
    try {
      work();
      this.#commit.run();
    } catch (error) {
      // A full disk may have rolled back by itself.
      if (this.database.inTransaction) this.database.run("ROLLBACK");
      throw error;
    }
  }

  /** The number of the last commit: of the journal's last row, or of one that was noted after it. */
  commits(): number {
    const last = this.database.query<{ id: number | null }, []>("SELECT max(id) AS id FROM journal").get()?.id ?? 0;
    return Math.max(last, this.#number("commits") ?? 0);
  }

  /** The newest version that was ever queued here, but for what is in the journal. */
  newestVersion(): number {
    return this.#number("newest") ?? 0;
  }

  /** See `Outbox.numberOf`. */
  numberOf(name: string): number | null {
    return this.#number(keptName(name));
  }

  keepNumber(name: string, value: number): void {
    this.database.run("INSERT OR REPLACE INTO meta VALUES (?, ?)", [keptName(name), value]);
  }

  /** Keeps what the journal's rows say as long as there are any. */
  note(commits: number, newestVersion: number): void {
    this.#note.run(commits, newestVersion);
  }

  totals(): Totals[] {
    return this.database
      .query<Totals, []>(
        `SELECT destination, sum(state < ${DEAD}) AS pending, sum(state = ${DEAD}) AS dead, sum(cost) AS bytes
         FROM entries GROUP BY destination`,
      )
      .all();
  }

  largestId(): number {
    return this.database.query<{ id: number | null }, []>("SELECT max(id) AS id FROM entries").get()?.id ?? 0;
  }

  find(destination: string, key: string): Head | null {
    return this.#find.get(destination, key);
  }

  /** Null = there is none, or it is damaged. */
  read(id: number): OutboxEntry | null {
    const row = this.#read.get(id);
    return row === null ? null : entryOf(row);
  }

  /** Those that wait for a destination and are as new as a version; not those that are damaged. */
  recent(destination: string, sinceVersion: number): Mutation[] {
    const where = `destination = ? AND state < ${DEAD} AND version >= ?`;
    const rows = this.database.query<Row, [string, number]>(`SELECT ${ROW_COLUMNS} FROM entries WHERE ${where}`);
    return rows.all(destination, sinceVersion).flatMap((row) => entryOf(row)?.mutation ?? []);
  }

  insert(id: number, row: OutboxRow, queuedAtMs: number): void {
    const { destination, key, mutation } = row;
    const { version, nodeId } = mutation.stamp;
    const bytes = encodeMutation(mutation);
    const sum = checksum({ destination, key, version, nodeId, mutation: bytes });
    this.#insert.run(id, destination, key, version, nodeId, queuedAtMs, sum, costBytes(row), bytes);
  }

  replace(id: number, row: OutboxRow): void {
    const { destination, key, mutation } = row;
    const { version, nodeId } = mutation.stamp;
    const bytes = encodeMutation(mutation);
    const sum = checksum({ destination, key, version, nodeId, mutation: bytes });
    this.#replace.run(id, version, nodeId, sum, costBytes(row), bytes);
  }

  remove(id: number): void {
    this.#remove.run(id);
  }

  /** Gives the costs of those that were there. */
  removeAll(ids: readonly number[]): number[] {
    return this.#removeAll.all(JSON.stringify(ids)).map((row) => row.cost);
  }

  ready(destination: string, afterId: number, limit: number): Head[] {
    return this.#ready.all(destination, afterId, limit);
  }

  /** Delayed rows whose time has come, those that were due first in front. */
  due(destination: string, nowMs: number, limit: number): Head[] {
    return this.#due.all(destination, nowMs, limit);
  }

  delay(id: number, attempts: number, dueAtMs: number, reason: string): void {
    this.#delay.run(id, attempts, dueAtMs, reason);
  }

  /** False = there is none. */
  bury(id: number, attempts: number, reason: string): boolean {
    return this.#bury.run(id, attempts, reason).changes > 0;
  }

  revive(id: number): void {
    this.#revive.run(id);
  }

  dead(destination: string, afterId: number, limit: number): DeadLetter[] {
    return this.#dead.all(destination, afterId, limit).map((row) => ({
      ...summaryOf(row),
      id: row.id,
      destination: row.destination,
      key: row.key,
      version: row.version,
      attempts: row.attempts,
      reason: row.reason,
      queuedAtMs: row.queued_at,
    }));
  }

  removeDestination(destination: string): void {
    this.database.query("DELETE FROM entries WHERE destination = ?").run(destination);
  }

  /** When what waits longest was queued, in ms since the Unix epoch; null = nothing waits. */
  oldestQueuedAtMs(destination: string): number | null {
    return this.#oldest.get(destination, destination)?.queued_at ?? null;
  }

  /** When the next delayed row is due, in ms since the Unix epoch; null = there is none. */
  soonestDueAtMs(destination: string): number | null {
    return this.#soonest.get(destination)?.due_at ?? null;
  }

  isReady(head: Head): boolean {
    return head.state === READY;
  }

  isDead(head: Head): boolean {
    return head.state === DEAD;
  }

  /** Keeps the log short, at the price of more syncs. */
  checkpointOften(): void {
    this.database.run("PRAGMA wal_autocheckpoint = 50");
  }

  /** Gives unused pages back to the disk, a few at a time, for that needs room itself. */
  shrink(): void {
    try {
      for (let step = 0; step < SHRINK_STEPS; step++) {
        this.database.run(`PRAGMA incremental_vacuum(${SHRINK_PAGES})`);
        this.database.run("PRAGMA wal_checkpoint(TRUNCATE)");
      }
    } catch {
      // No room even for that; the caller looks whether there is enough now.
    }
  }

  close(): void {
    for (const statement of this.#statements) statement.finalize();
    this.database.close();
  }

  #number(name: string): number | null {
    const meta = this.database.query<{ number: number }, [string]>("SELECT number FROM meta WHERE name = ?");
    return meta.get(name)?.number ?? null;
  }

  #keep<S extends Statement>(statement: S): S {
    this.#statements.push(statement);
    return statement;
  }
}

/** Null = the row is not what was written. */
export function entryOf(row: Row): OutboxEntry | null {
  if (checksum(row) !== row.checksum) return null;
  const { destination, key, id, attempts, queued_at: queuedAtMs } = row;
  const mutation = unlessUnreadable(() => decodeMutation(bytesOf(row)));
  return mutation === null ? null : { destination, key, mutation, id, attempts, queuedAtMs };
}

/** Over everything that would do harm if it were wrong. SQLite has no checksums of its own in the database file. */
function checksum(row: Pick<Row, "destination" | "key" | "version" | "nodeId" | "mutation">): number {
  return crc32(row.mutation, crc32([row.destination, row.key, row.version, row.nodeId].join("\0")));
}

function summaryOf(row: Row): Pick<DeadLetter, "kind" | "contentType" | "valueBytes"> {
  // Where it is damaged, the letter says so: see `Taker`.
  return unlessUnreadable(() => readSummary(bytesOf(row))) ?? { kind: "delete", contentType: "", valueBytes: 0 };
}

function bytesOf({ mutation }: Row): Buffer {
  return Buffer.from(mutation.buffer, mutation.byteOffset, mutation.byteLength);
}

/** Apart from the names of the outbox' own numbers. */
function keptName(name: string): string {
  return `kept ${name}`;
}

/** Parameters: 1 = destination, 3 = limit. */
function soonestWhere(condition: string): string {
  return `SELECT * FROM (SELECT ${HEAD} FROM entries
    WHERE destination = ?1 AND state = ${DELAYED} AND ${condition} ORDER BY due_at LIMIT ?3)`;
}
