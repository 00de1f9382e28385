/**
 * What was queued a moment ago: durable in the journal, and at hand in memory, so that it can be taken and settled without
 * a look into the database. Changes can be undone until they are kept: the commit that they belong to may fail.
 */
import { isNewer, type Stamp } from "../engine/engine.ts";
import { costBytes, type OutboxMutation } from "./entry.ts";

export interface FreshRow {
  readonly mutation: OutboxMutation;
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
  live: number;
}

export class Fresh {
  readonly #queues = new Map<string, Map<string, FreshRow>>();
  /** All of them, in the order of the journal. */
  readonly #journaled = new Set<FreshRow>();
  /** In the order of the journal. */
  #groups: Group[] = [];
  #undo: (() => void)[] = [];
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

  find(destination: string, key: string): FreshRow | null {
    return this.#queues.get(destination)?.get(key) ?? null;
  }

  destinations(): IterableIterator<string> {
    return this.#queues.keys();
  }

  /** The one that was queued first comes first. */
  rows(destination: string): Iterable<FreshRow> {
    return this.#queues.get(destination)?.values() ?? [];
  }

  /** Those that were written to the journal first come first. */
  journaled(): Iterable<FreshRow> {
    return this.#journaled;
  }

  /** A row of the journal that is about to be written. */
  begin(id: number, atMs: number): Group {
    const group = { id, atMs, live: 0 };
    this.#groups.push(group);
    this.#undo.push(() => this.#groups.splice(this.#groups.indexOf(group), 1));
    return group;
  }

  /** Queues a mutation, or puts it at the place of an older one of its key. */
  add(mutation: OutboxMutation, group: Group, nowMs: number): void {
    const { destination, key } = mutation;
    const older = this.find(destination, key);
    const row = { mutation, queuedAtMs: older?.queuedAtMs ?? nowMs, cost: costBytes(mutation), group };
    this.#set(row, older);
    this.#undo.push(() => (older === null ? this.#delete(row) : this.#set(older, row)));
  }

  /** What a row stands for is written to the journal once more, so that the place where it stood can go. */
  renew(row: FreshRow, group: Group): void {
    const renewed = { ...row, group };
    this.#set(renewed, row);
    this.#undo.push(() => this.#set(row, renewed));
  }

  /** Takes a mutation out, unless a newer one of its key has its place. False = it is not here. */
  remove(destination: string, key: string, stamp: Stamp): boolean {
    const row = this.find(destination, key);
    if (row === null || isNewer(row.mutation.stamp, stamp)) return false;
    this.#delete(row);
    this.#undo.push(() => this.#set(row, null));
    return true;
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
    this.#undo = [];
    const firstLive = this.#groups.findIndex((group) => group.live > 0);
    this.#groups.splice(0, firstLive < 0 ? this.#groups.length : firstLive);
  }

  /** The changes since the last call of `keep` never came to be. */
  undo(): void {
    for (const step of this.#undo.reverse()) step();
    this.#undo = [];
  }

  #set(row: FreshRow, instead: FreshRow | null): void {
    const { destination, key } = row.mutation;
    let queue = this.#queues.get(destination);
    if (queue === undefined) {
      queue = new Map();
      this.#queues.set(destination, queue);
    }
    queue.set(key, row);
    this.#journaled.add(row);
    row.group.live += 1;
    this.#bytes += row.cost;
    if (instead === null) {
      this.#size += 1;
    } else {
      this.#journaled.delete(instead);
      instead.group.live -= 1;
      this.#bytes -= instead.cost;
    }
  }

  #delete(row: FreshRow): void {
    this.#queues.get(row.mutation.destination)?.delete(row.mutation.key);
    this.#journaled.delete(row);
    row.group.live -= 1;
    this.#bytes -= row.cost;
    this.#size -= 1;
  }
}
