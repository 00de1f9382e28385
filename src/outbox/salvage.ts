/** Takes over what can still be read of a damaged outbox: every row and every frame whose checksum is right. */

import { Database, type Statement } from "bun:sqlite";
import { replaces } from "../model/mutation.ts";
import { isNewer } from "../model/stamp.ts";
import type { OutboxRow } from "./entry.ts";
import { entryOf, type OutboxStore, ROW_COLUMNS, type Row } from "./outbox-store.ts";
import { groupOf, type JournalRow } from "./write-ahead-log.ts";

/** Rows that can't be read are stepped over; after this many in a row the steps double, to reach the end in time. */
const PATIENCE_ROWS = 256;

/**
 * Gives how many rows were taken over; 0 also where the damaged file is no database any more. Throws where the target can't
 * be written.
 */
export function salvage(damagedPath: string, target: OutboxStore): number {
  const damaged = new Database(damagedPath);
  try {
    // Its log is read without a file of shared memory, for which a full disk has no room.
    damaged.run("PRAGMA locking_mode = EXCLUSIVE");
    return takeOver(damaged, target);
  } finally {
    damaged.close();
  }
}

function takeOver(damaged: Database, target: OutboxStore): number {
  let rescued = 0;
  const take = (row: OutboxRow, queuedAtMs: number): void => {
    const other = target.find(row.destination, row.key);
    if (other !== null && !isNewer(row.mutation.stamp, other)) return;
    if (other !== null) target.remove(other.id);
    rescued += 1;
    target.insert(rescued, row, queuedAtMs);
  };
  target.transaction(() => {
    for (const row of readable<Row>(damaged, "entries", ROW_COLUMNS)) {
      const entry = entryOf(row);
      if (entry !== null) take(entry, entry.queuedAtMs);
    }
    for (const { row, queuedAtMs } of waitingIn(damaged)) take(row, queuedAtMs);
  });
  return rescued;
}

interface Waiting {
  readonly row: OutboxRow;
  readonly queuedAtMs: number;
}

/** What the journal holds and does not say to be gone: the mark of a put that was done has no value to be put. */
function waitingIn(damaged: Database): Iterable<Waiting> {
  const waiting = new Map<string, Waiting>();
  for (const group of readable<JournalRow>(damaged, "journal", "*")) {
    for (const row of groupOf(group).rows) {
      const { destination, key, mutation, state } = row;
      const name = `${destination}\0${key}`;
      const other = waiting.get(name);
      if (state === undefined) {
        if (other === undefined || replaces(mutation, other.row.mutation)) {
          waiting.set(name, { row, queuedAtMs: group.queued_at });
        }
      } else if (state === "all-gone") {
        for (const one of waiting.keys()) if (one.startsWith(`${destination}\0`)) waiting.delete(one);
      } else if (other !== undefined && !isNewer(other.row.mutation.stamp, mutation.stamp)) waiting.delete(name);
    }
  }
  return waiting.values();
}

function* readable<R extends { readonly id: number }>(
  damaged: Database,
  table: "entries" | "journal",
  columns: string,
): Generator<R> {
  const next = prepared<R>(damaged, `SELECT ${columns} FROM ${table} WHERE id > ? ORDER BY id LIMIT 1`);
  if (next === null) return;
  try {
    yield* steppedThrough(next);
  } finally {
    next.finalize();
  }
}

function* steppedThrough<R extends { readonly id: number }>(next: Statement<R, [number]>): Generator<R> {
  let id = 0;
  let failures = 0;
  while (Number.isSafeInteger(id)) {
    try {
      const row = next.get(id);
      if (row === null) return;
      failures = 0;
      id = row.id;
      yield row;
    } catch {
      failures += 1;
      id += failures < PATIENCE_ROWS ? 1 : 2 ** Math.min(failures - PATIENCE_ROWS, 52);
    }
  }
}

/** Null = the file has no such table, or is no database any more. */
function prepared<R>(damaged: Database, query: string): Statement<R, [number]> | null {
  try {
    return damaged.prepare<R, [number]>(query);
  } catch {
    return null;
  }
}
