/**
 * What was queued a moment ago: durable in the journal, and at hand in memory, so that it can be taken and settled without
 * a look into the database. Changes can be undone until they are kept: the commit that they belong to may fail.
 */
import type { OutboxRow } from "./entry.ts";

export interface MemtableRow extends OutboxRow {
  /** Of the first mutation that it stands for, in ms since the Unix epoch. */
  readonly queuedAtMs: number;
  readonly cost: number;
  readonly group: Group;
}

/** A row of the journal, and how many of its mutations are still here. */
export interface Group {
  readonly id: number;
  /** Ms since the Unix epoch. */
  readonly atMs: number;
  /** All that ever stood in it. */
  readonly rows: MemtableRow[];
  live: number;
}

export class Memtable {
  readonly #queues = new Map<string, Map<string, MemtableRow>>();
  /** In the order of the journal. */
  #groups: Group[] = [];
  /** Changes that are not durable yet: what came, what went, what came, … */
  #changes: (MemtableRow | null)[] = [];
  #begun: Group[] = [];
  /** Of which nothing is here any more, if the changes become durable. */
  #emptied: Group[] = [];
  #size = 0;
  #bytes = 0;

  get size(): number {
    return this.#size;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** How many wait for a destination. */
  count(destination: string): number {
    return this.#queues.get(destination)?.size ?? 0;
  }

  find(destination: string, key: string): MemtableRow | null {
    return this.#queues.get(destination)?.get(key) ?? null;
  }

  destinations(): IterableIterator<string> {
    return this.#queues.keys();
  }

  /** The one that was queued first comes first. */
  rows(destination: string): Iterable<MemtableRow> {
    return this.#queues.get(destination)?.values() ?? [];
  }

  /** Those that were written to the journal first come first. */
  *journaled(): Generator<MemtableRow> {
    for (const group of this.#groups) {
      if (group.live === 0) continue;
      for (const row of group.rows) if (this.#isHere(row)) yield row;
    }
  }

  /** A row of the journal that is about to be written. */
  begin(id: number, atMs: number): Group {
    const group = { id, atMs, rows: [], live: 0 };
    this.#groups.push(group);
    this.#begun.push(group);
    return group;
  }

  /** Queues a mutation, or puts it at the place of an older one of its key, which is given. */
  add(queued: OutboxRow, cost: number, group: Group, nowMs: number, older: MemtableRow | null): void {
    const { destination, key, mutation } = queued;
    const row = { destination, key, mutation, queuedAtMs: older?.queuedAtMs ?? nowMs, cost, group };
    this.#set(row, older);
    this.#changes.push(row, older);
  }

  /** What a row stands for is written to the journal once more, so that the place where it stood can go. */
  renew(row: MemtableRow, group: Group): void {
    const renewed = { ...row, group };
    this.#set(renewed, row);
    this.#changes.push(renewed, row);
  }

  /** Takes out what is here. */
  remove(row: MemtableRow): void {
    this.#delete(row);
    this.#changes.push(null, row);
  }

  /** Up to which row the journal holds nothing that is still here; 0 = its first row is needed. */
  doneUpTo(): number {
    let id = 0;
    for (const group of this.#groups) {
      if (group.live > 0) break;
      id = group.id;
    }
    return id;
  }

  /** The changes since the last call are durable. */
  keep(): void {
    this.#changes = [];
    this.#begun = [];
    // The journal may still hold it for what came before it: its mutations are not to stay in memory for that long.
    for (const group of this.#emptied) if (group.live === 0) group.rows.length = 0;
    this.#emptied = [];
    const firstLive = this.#groups.findIndex((group) => group.live > 0);
    this.#groups.splice(0, firstLive < 0 ? this.#groups.length : firstLive);
  }

  /** The changes since the last call of `keep` never came to be. */
  undo(): void {
    const changes = this.#changes;
    for (let at = changes.length - 2; at >= 0; at -= 2) {
      const came = changes[at] ?? null;
      const went = changes[at + 1] ?? null;
      if (went !== null) this.#set(went, came, false);
      else if (came !== null) this.#delete(came);
    }
    for (const group of this.#begun) this.#groups.splice(this.#groups.indexOf(group), 1);
    this.#changes = [];
    this.#begun = [];
    this.#emptied = [];
  }

  #isHere(row: MemtableRow): boolean {
    return this.find(row.destination, row.key) === row;
  }

  #set(row: MemtableRow, instead: MemtableRow | null, isNew = true): void {
    const { destination, key } = row;
    let queue = this.#queues.get(destination);
    if (queue === undefined) {
      queue = new Map();
      this.#queues.set(destination, queue);
    }
    queue.set(key, row);
    if (isNew) row.group.rows.push(row);
    row.group.live += 1;
    this.#bytes += row.cost;
    if (instead === null) {
      this.#size += 1;
    } else {
      this.#leave(instead.group);
      this.#bytes -= instead.cost;
    }
  }

  #delete(row: MemtableRow): void {
    this.#queues.get(row.destination)?.delete(row.key);
    this.#leave(row.group);
    this.#bytes -= row.cost;
    this.#size -= 1;
  }

  #leave(group: Group): void {
    group.live -= 1;
    if (group.live === 0) this.#emptied.push(group);
  }
}
