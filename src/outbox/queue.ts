/**
 * The queues of all destinations, in two tiers: what came a moment ago is in memory and in the journal (`memtable.ts`), what
 * waits longer, was postponed or refused has a row in the table (`outbox-store.ts`). A key of a destination is in one of
 * them only. Whatever changes is called within a transaction, and the counts go along.
 */

import { type Mutation, replaces } from "../model/mutation.ts";
import { isNewer, isSame } from "../model/stamp.ts";
import { costBytes, type OutboxEntry, type OutboxRow, type Settlement } from "./entry.ts";
import { GoneRows } from "./gone-rows.ts";
import type { InFlight } from "./in-flight.ts";
import { type Group, Memtable, type MemtableRow } from "./memtable.ts";
import type { Head, OutboxStore } from "./outbox-store.ts";
import type { QueueCounts } from "./queue-counts.ts";
import type { Journaled, WriteAheadLog } from "./write-ahead-log.ts";

export interface FreshLimits {
  readonly rows: number;
  readonly bytes: number;
  /** What waits longer is written to the journal's end once more, in ms: so its beginning can go. */
  readonly ageMs: number;
}

export const FRESH_LIMITS: FreshLimits = { rows: 262_144, bytes: 96 * 1024 * 1024, ageMs: 10_000 };

/** Rows that one commit renews or moves to the table at most, beside as many as it brings. */
const MOVES_PER_COMMIT = 256;

/** Rows of the journal that are removed together. */
const CUT_TOGETHER = 16;

/** The id of an entry that is in no table. */
const NO_ROW = 0;

export class Queue {
  readonly #memtable = new Memtable();
  readonly #gone = new GoneRows();
  #nextId: number;
  /** Up to which row nothing is left in the journal: now, and when the last transaction was done. */
  #cutUpTo = 0;
  #cutKept = 0;

  constructor(
    private readonly store: OutboxStore,
    private readonly journal: WriteAheadLog,
    private readonly inFlight: InFlight,
    private readonly nowMs: () => number,
    private readonly limits: FreshLimits,
  ) {
    this.#nextId = store.largestId() + 1;
  }

  /**
   * Takes up what a journal holds from before a restart. It stays where it is, so that nothing has to be written: the disk
   * may be full.
   */
  adopt(counts: QueueCounts): { readonly damaged: readonly number[]; readonly newestVersion: number } {
    const damaged: number[] = [];
    let newestVersion = 0;
    for (const { id, queuedAtMs, rows, isDamaged } of this.journal.groups()) {
      if (isDamaged) damaged.push(id);
      const group = this.#memtable.begin(id, queuedAtMs);
      for (const row of rows) {
        newestVersion = Math.max(newestVersion, row.mutation.stamp.version);
        if (row.state === undefined) this.#adoptFresh(row, group, queuedAtMs);
        else this.#dropFresh(row);
      }
    }
    // Only what the whole journal leaves waiting is newer than the table: what was gone again by its end is not.
    for (const destination of this.#memtable.destinations()) {
      for (const row of [...this.#memtable.rows(destination)]) this.#reconcile(row, counts);
    }
    return { damaged, newestVersion };
  }

  settle(settlements: readonly Settlement[], counts: QueueCounts): void {
    this.#removeDone(settlements, counts);
    for (const settlement of settlements) {
      if (settlement.entry.id === NO_ROW) this.#settleFresh(settlement, counts);
      else this.#settleRow(settlement, counts);
    }
  }

  /**
   * Queues rows, but those whose key waits with something as new; tidies up what is older. Gives whether the journal has a
   * row of this commit.
   */
  append(rows: readonly OutboxRow[], commit: number, counts: QueueCounts): boolean {
    const nowMs = this.nowMs();
    const group = this.#memtable.begin(commit, nowMs);
    const queued: OutboxRow[] = [];
    for (const row of rows) if (this.#appendFresh(row, group, nowMs, counts)) queued.push(row);
    const most = MOVES_PER_COMMIT + rows.length;
    this.#moveSurplus(most);
    const renewed = this.#renew(group, nowMs - this.limits.ageMs, most);
    this.#cut();
    const journaled: Journaled[] = this.#gone.write(this.#cutUpTo);
    for (const row of queued) {
      // What has gone to the table in the same commit does not wait in the journal: it would come back when the table is
      // done with it.
      const { destination, key, mutation } = row;
      if (this.#memtable.find(destination, key)?.mutation === mutation) journaled.push(row);
    }
    for (const { destination, key, mutation } of renewed) journaled.push({ destination, key, mutation });
    if (journaled.length > 0) this.journal.append(commit, nowMs, journaled);
    return journaled.length > 0;
  }

  /** Moves all to the table: what is in flight, too, for nobody settles it any more. */
  moveAll(): void {
    for (const destination of this.#memtable.destinations()) {
      for (const row of [...this.#memtable.rows(destination)]) this.#move(row);
    }
    this.journal.removeUpTo(Number.MAX_SAFE_INTEGER);
    this.#gone.clear();
  }

  /** Forgets all that waits for a destination. To be followed by `append`. */
  clear(destination: string, counts: QueueCounts): void {
    if (this.#memtable.count(destination) > 0) this.#gone.addAll(destination);
    for (const row of [...this.#memtable.rows(destination)]) this.#memtable.remove(row);
    this.store.removeDestination(destination);
    const { pending, dead, bytes } = counts.of(destination);
    counts.add(destination, { pending: -pending, dead: -dead, bytes: -bytes });
  }

  /** To be called when the transaction is done … */
  keep(): void {
    this.#memtable.keep();
    this.#gone.keep();
    this.#cutKept = this.#cutUpTo;
  }

  /** … or has failed. */
  undo(): void {
    this.#memtable.undo();
    this.#gone.undo();
    this.#cutUpTo = this.#cutKept;
  }

  /** Whether the table has anything of a destination. */
  hasRows(destination: string, counts: QueueCounts): boolean {
    const { pending, dead } = counts.of(destination);
    return pending + dead > this.#memtable.count(destination);
  }

  find(destination: string, key: string): Mutation | null {
    return this.#memtable.find(destination, key)?.mutation ?? null;
  }

  /** What waits and is as new as a version, in whatever order. */
  recent(destination: string, sinceVersion: number): Mutation[] {
    const fresh = [...this.#memtable.rows(destination)].map(({ mutation }) => mutation);
    return [
      ...fresh.filter(({ stamp }) => stamp.version >= sinceVersion),
      ...this.store.recent(destination, sinceVersion),
    ];
  }

  /** Gives what can be taken of the first tier, the longest waiting first, until `take` wants no more. */
  eachWaiting(destination: string, take: (row: MemtableRow) => boolean): void {
    const flight = this.inFlight.of(destination);
    for (const row of this.#memtable.rows(destination)) if (!flight.has(row.key) && !take(row)) return;
  }

  entry(destination: string, key: string): OutboxEntry | null {
    const row = this.#memtable.find(destination, key);
    return row === null ? null : entryOf(row);
  }

  /** In ms since the Unix epoch; null = nothing waits in the first tier. */
  oldestQueuedAtMs(destination: string): number | null {
    for (const row of this.#memtable.rows(destination)) return row.queuedAtMs;
    return null;
  }

  /** False = it is not for the journal. */
  #appendFresh(row: OutboxRow, group: Group, nowMs: number, counts: QueueCounts): boolean {
    const { destination, key, mutation } = row;
    const cost = costBytes(row);
    const other = this.#memtable.find(destination, key);
    if (other !== null) {
      if (!replaces(mutation, other.mutation)) return false;
      this.#memtable.add(row, cost, group, nowMs, other);
      counts.add(destination, { bytes: cost - other.cost });
      return true;
    }
    const head = this.hasRows(destination, counts) ? this.store.find(destination, key) : null;
    if (head !== null) {
      if (!this.#replacesRow(mutation, head)) return false;
      counts.add(destination, { bytes: cost - head.cost });
      if (this.store.isReady(head) && !this.inFlight.of(destination).has(key)) {
        // Its place in the queue is kept: a key that is written all the time is not to be put off for ever.
        this.store.replace(head.id, row);
        return false;
      }
      this.store.remove(head.id);
      if (this.store.isDead(head)) counts.add(destination, { dead: -1, pending: 1 });
    } else {
      counts.add(destination, { pending: 1, bytes: cost });
    }
    this.#memtable.add(row, cost, group, nowMs, null);
    return true;
  }

  #replacesRow(mutation: Mutation, head: Head): boolean {
    if (mutation.kind !== "touch" || !isSame(mutation.stamp, head)) return isNewer(mutation.stamp, head);
    const row = this.store.read(head.id);
    return row === null || replaces(mutation, row.mutation);
  }

  /** What the journal says to be gone. */
  #dropFresh({ destination, key, mutation, state }: Journaled): void {
    const areAll = state === "all-gone";
    const one = this.#memtable.find(destination, key);
    const rows = areAll ? [...this.#memtable.rows(destination)] : one === null ? [] : [one];
    for (const row of rows) {
      if (areAll || !isNewer(row.mutation.stamp, mutation.stamp)) this.#memtable.remove(row);
    }
  }

  #adoptFresh(row: OutboxRow, group: Group, queuedAtMs: number): void {
    const other = this.#memtable.find(row.destination, row.key);
    if (other !== null && !replaces(row.mutation, other.mutation)) return;
    this.#memtable.add(row, costBytes(row), group, queuedAtMs, other);
  }

  /** A row of the table that is as new was moved there from the journal, and knows more: what became of it. */
  #reconcile(row: MemtableRow, counts: QueueCounts): void {
    const { destination, key, mutation, cost } = row;
    const head = this.store.find(destination, key);
    if (head !== null && !this.#replacesRow(mutation, head)) {
      this.#memtable.remove(row);
      this.#gone.add(row);
      return;
    }
    if (head !== null) {
      this.store.remove(head.id);
      const isDead = this.store.isDead(head);
      counts.add(destination, { pending: isDead ? 0 : -1, dead: isDead ? -1 : 0, bytes: -head.cost });
    }
    counts.add(destination, { pending: 1, bytes: cost });
  }

  /** What is too much in memory, the longest waiting first; not what is in flight, for that is about to be settled. */
  #moveSurplus(most: number): void {
    const { rows, bytes } = this.limits;
    let left = most;
    for (const destination of this.#memtable.destinations()) {
      const flight = this.inFlight.of(destination);
      for (const row of this.#memtable.rows(destination)) {
        if (left === 0 || (this.#memtable.size <= rows && this.#memtable.bytes <= bytes)) return;
        if (flight.has(row.key)) continue;
        left -= 1;
        this.#move(row);
      }
    }
  }

  /** Those that the journal holds for too long get a new place in it. */
  #renew(group: Group, untilMs: number, most: number): MemtableRow[] {
    const renewed: MemtableRow[] = [];
    for (const row of this.#memtable.journaled()) {
      if (row.group.atMs > untilMs || renewed.length === most) break;
      renewed.push(row);
    }
    for (const row of renewed) this.#memtable.renew(row, group);
    return renewed;
  }

  /** Removes the beginning of the journal, of which nothing waits any more. */
  #cut(): void {
    const doneUpTo = this.#memtable.doneUpTo();
    const rows = doneUpTo - this.#cutUpTo;
    if (rows <= 0 || (rows < CUT_TOGETHER && this.#memtable.size > 0)) return;
    this.journal.removeUpTo(doneUpTo);
    this.#cutUpTo = doneUpTo;
  }

  #move(row: MemtableRow): number {
    const id = this.#nextId++;
    this.store.insert(id, row, row.queuedAtMs);
    this.#gone.add(row);
    this.#memtable.remove(row);
    return id;
  }

  #settleFresh(settlement: Settlement, counts: QueueCounts): void {
    const { entry, kind } = settlement;
    const { destination, key, attempts } = entry;
    if (kind === "released") return;
    const row = this.#memtable.find(destination, key);
    // A newer one has its place, and waits for its own turn.
    if (row === null || replaces(row.mutation, entry.mutation)) return;
    if (kind === "done") {
      this.#memtable.remove(row);
      this.#gone.add(row);
      counts.add(destination, { pending: -1, bytes: -row.cost });
      return;
    }
    this.#settleRow({ ...settlement, entry: { ...entry, id: this.#move(row), attempts } }, counts);
  }

  /** All in one statement: this is what a drain does most. */
  #removeDone(settlements: readonly Settlement[], counts: QueueCounts): void {
    const idsOf = new Map<string, number[]>();
    for (const { kind, entry } of settlements) {
      if (kind !== "done" || entry.id === NO_ROW) continue;
      const ids = idsOf.get(entry.destination);
      if (ids === undefined) idsOf.set(entry.destination, [entry.id]);
      else ids.push(entry.id);
    }
    for (const [destination, ids] of idsOf) {
      const costs = this.store.removeAll(ids);
      counts.add(destination, { pending: -costs.length, bytes: -costs.reduce((sum, cost) => sum + cost, 0) });
    }
  }

  #settleRow(settlement: Settlement, counts: QueueCounts): void {
    const { entry, kind } = settlement;
    const { destination, id, attempts } = entry;
    // Where nothing changes, the entry was replaced while it was in flight: the newer one waits for its own turn.
    if (kind === "released" || kind === "done") return;
    if (kind === "postponed") {
      this.store.delay(id, attempts, settlement.dueAtMs, settlement.reason);
    } else if (settlement.dueAtMs === null) {
      if (this.store.bury(id, attempts + 1, settlement.reason)) counts.add(destination, { pending: -1, dead: 1 });
    } else {
      this.store.delay(id, attempts + 1, settlement.dueAtMs, settlement.reason);
    }
  }
}

/** As it is taken from the first tier. Member by member: a spread costs several times as much. */
export function entryOf({ destination, key, mutation, queuedAtMs }: MemtableRow): OutboxEntry {
  return { destination, key, mutation, id: NO_ROW, attempts: 0, queuedAtMs };
}
