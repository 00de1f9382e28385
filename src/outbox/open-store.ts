/**
 * Opens the outbox's file, or says why not. A damaged file is set aside under another name and what can be read of it is
 * taken over; nothing is ever taken for empty in silence.
 */

import { Database } from "bun:sqlite";
import { existsSync, renameSync, rmSync } from "node:fs";
import { messageOf } from "../runtime/error-message.ts";
import { CommitMark } from "./commit-mark.ts";
import type { DataDirectory } from "./data-directory.ts";
import { OutboxOpenError } from "./outbox-errors.ts";
import { OutboxStore, SCHEMA } from "./outbox-store.ts";
import { salvage } from "./salvage.ts";
import { JOURNAL_SCHEMA } from "./write-ahead-log.ts";

export interface StoreOptions {
  /** `full` survives the loss of power, `normal` the loss of the process. */
  readonly sync: "normal" | "full";
  /** Bound on the file for tests of a full disk, in pages of 4 KiB; null = the disk's. */
  readonly limitPages: number | null;
  readonly nowMs: () => number;
}

export interface OpenedStore {
  /** Of the file. */
  readonly path: string;
  readonly store: OutboxStore;
  readonly mark: CommitMark;
  /** What an operator must know; empty when all is well. */
  readonly warnings: readonly string[];
}

const FILE = "outbox.db";
/**
 * Of the tables, the journal's frames and `mutation-codec.ts`. A file of another one is left as it is. 2: a mutation stands
 * in one column, and the journal says what is gone.
 */
const FORMAT = 2;

class UnknownFormatError extends Error {}

/** Throws `OutboxOpenError` where the file is whole but can't be used (rights, disk). */
export function openStore(directory: DataDirectory, options: StoreOptions): OpenedStore {
  const path = directory.file(FILE);
  const mark = CommitMark.open(directory.file("outbox.mark"));
  try {
    const warnings: string[] = [];
    const database = openWhole(path, options) ?? replaceDamaged(path, options, warnings);
    const store = new OutboxStore(database);
    const lost = lostCommits(store, mark);
    if (warnings.length === 0 && lost !== null) warnings.push(lost);
    return { path, store, mark, warnings };
  } catch (error) {
    mark.close();
    throw error;
  }
}

/** Null = the file is damaged. */
function openWhole(path: string, options: StoreOptions): Database | null {
  let database: Database | null = null;
  try {
    database = new Database(path, { create: true });
    // Exclusive before WAL: no shared memory file, and nobody else changes what this process counts.
    database.run("PRAGMA locking_mode = EXCLUSIVE");
    // 0 = the file is new.
    const format = pragma(database, "user_version");
    if (format !== 0 && format !== FORMAT) {
      throw new UnknownFormatError(
        `it has format ${format}, and this version of ServCache knows format ${FORMAT} alone`,
      );
    }
    // A file that is there already is not written to: its disk may be full.
    if (format === 0) database.run("PRAGMA auto_vacuum = INCREMENTAL");
    database.run("PRAGMA journal_mode = WAL");
    // A checkpoint waits for the disk, and everybody with it: seldom, and of more at once.
    database.run("PRAGMA wal_autocheckpoint = 4000");
    database.run(`PRAGMA synchronous = ${options.sync === "full" ? "FULL" : "NORMAL"}`);
    if (pragma(database, "integrity_check(1)") !== "ok") {
      database.close();
      return null;
    }
    if (format === 0) {
      database.run(SCHEMA);
      database.run(JOURNAL_SCHEMA);
      database.run(`PRAGMA user_version = ${FORMAT}`);
    }
    if (options.limitPages !== null) database.run(`PRAGMA max_page_count = ${options.limitPages}`);
    return database;
  } catch (error) {
    database?.close();
    if (isDamage(error)) return null;
    const message = messageOf(error);
    throw new OutboxOpenError(
      `the outbox ${path} can't be opened: ${message}; mend that and start again, and keep the file: it may hold ` +
        "acknowledged writes",
      { cause: error },
    );
  }
}

/** What a pragma answers. Leaves no statement behind, for that would keep the file locked after it is closed. */
function pragma(database: Database, text: string): unknown {
  const statement = database.prepare<Record<string, unknown>, []>(`PRAGMA ${text}`);
  try {
    return Object.values(statement.get() ?? {})[0];
  } finally {
    statement.finalize();
  }
}

/** What can be read is in a new file, whole, before the damaged one leaves its place. */
function replaceDamaged(path: string, options: StoreOptions, warnings: string[]): Database {
  const rescue = `${path}.rescue`;
  removeFiles(rescue);
  let rescued: number;
  try {
    rescued = salvageInto(rescue, path, options);
  } catch (error) {
    removeFiles(rescue);
    const message = messageOf(error);
    throw new OutboxOpenError(
      `the outbox ${path} is damaged, and what can be read of it can't be copied: ${message}; make room on its disk, ` +
        "start again, and keep the file: it may hold acknowledged writes",
      { cause: error },
    );
  }
  const aside = `${path}.damaged-${options.nowMs()}`;
  renameFiles(path, aside);
  renameFiles(rescue, path);
  const fresh = openWhole(path, options);
  if (fresh === null) throw new OutboxOpenError(`a new outbox ${path} can't be made: its disk gives back damaged data`);
  warnings.push(
    `the outbox ${path} is damaged; it was set aside as ${aside}, and ${rescued} waiting writes were taken over from it. ` +
      "Writes that could not be read from it have not reached the backend: compare it, or keep the file for recovery",
  );
  return fresh;
}

function salvageInto(target: string, damaged: string, options: StoreOptions): number {
  const database = openWhole(target, options);
  if (database === null) throw new OutboxOpenError("its disk gives back damaged data");
  const store = new OutboxStore(database);
  try {
    return salvage(damaged, store);
  } finally {
    store.close();
  }
}

const SUFFIXES = ["", "-wal", "-shm", "-journal"] as const;

function renameFiles(from: string, to: string): void {
  for (const suffix of SUFFIXES) if (existsSync(from + suffix)) renameSync(from + suffix, to + suffix);
}

function removeFiles(path: string): void {
  for (const suffix of SUFFIXES) rmSync(path + suffix, { force: true });
}

function isDamage(error: unknown): boolean {
  const code: unknown = error instanceof Error ? Reflect.get(error, "code") : null;
  return typeof code === "string" && /^SQLITE_(CORRUPT|NOTADB|FORMAT)/.test(code);
}

/** Whether commits that were acknowledged are missing, as a warning; null = none. */
function lostCommits(store: OutboxStore, mark: CommitMark): string | null {
  const last = mark.read();
  const commits = store.commits();
  if (last === null) {
    return commits === 0
      ? null
      : "the outbox' mark file outbox.mark is missing: whether the outbox lacks its last commits can't be known. " +
          "Writes from before this start may not have reached the backend: compare it";
  }
  if (last.commits <= commits) return null;
  return (
    `the outbox lacks its last ${last.commits - commits} commits: its files were cut, changed or removed while ` +
    `${last.entries} writes waited. Writes of that time may not have reached the backend: compare it`
  );
}
