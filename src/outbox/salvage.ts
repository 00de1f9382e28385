/** Takes over what can still be read of a damaged outbox: every row whose checksum is right. */
import { Database } from "bun:sqlite";
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
        for (const row of readable(damaged)) {
          const entry = entryOf(row);
          if (entry === null || target.find(entry.destination, entry.key) !== null) continue;
          rescued += 1;
          target.insert(rescued, entry, entry.queuedAtMs);
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

function* readable(damaged: Database): Generator<Row> {
  const next = damaged.prepare<Row, [number]>("SELECT * FROM entries WHERE id > ? ORDER BY id LIMIT 1");
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
