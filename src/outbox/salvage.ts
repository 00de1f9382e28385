/** Takes over what can still be read of a damaged outbox: every row and every frame whose checksum is right. */
import { Database } from "bun:sqlite";
import { isNewer } from "../engine/engine.ts";
import type { OutboxMutation } from "./entry.ts";
import { groupOf, type JournalRow } from "./journal.ts";
import { entryOf, type OutboxStore, type Row } from "./outbox-store.ts";

/** Rows that can't be read are stepped over; after this many in a row the steps double, to reach the end in time. */
const PATIENCE_ROWS = 256;

/** Gives how many rows were taken over. */
export function salvage(damagedPath: string, target: OutboxStore): number {
  let rescued = 0;
  try {
    const damaged = new Database(damagedPath);
    try {
      target.transaction(() => {
        const take = (mutation: OutboxMutation, queuedAtMs: number): void => {
          const other = target.find(mutation.destination, mutation.key);
          if (other !== null && !isNewer(mutation.stamp, other)) return;
          if (other !== null) target.remove(other.id);
          rescued += 1;
          target.insert(rescued, mutation, queuedAtMs);
        };
        for (const row of readable<Row>(damaged, "entries")) {
          const entry = entryOf(row);
          if (entry !== null) take(entry, entry.queuedAtMs);
        }
        for (const row of readable<JournalRow>(damaged, "journal")) {
          for (const mutation of groupOf(row).mutations) take(mutation, row.queued_at);
        }
      });
    } finally {
      damaged.close();
    }
  } catch {
    // Not even a database any more: there is nothing to take over, and the caller says so.
  }
  return rescued;
}

function* readable<R extends { readonly id: number }>(damaged: Database, table: "entries" | "journal"): Generator<R> {
  const next = damaged.prepare<R, [number]>(`SELECT * FROM ${table} WHERE id > ? ORDER BY id LIMIT 1`);
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
