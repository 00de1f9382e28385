import { type Mutation, replaces } from "../../src/model/mutation.ts";
import type { HubOutbox } from "../../src/node/hub.ts";
import { costBytes, type OutboxEntry, type OutboxRow, type Settlement } from "../../src/outbox/entry.ts";
import type { TakeRequest } from "../../src/outbox/taker.ts";
import type { PeerOutbox } from "../../src/replication/peer-queue.ts";

interface Row extends OutboxRow {
  readonly id: number;
  readonly queuedAtMs: number;
  /** 0 = at once. */
  readonly dueAtMs: number;
}

/** What is on the disk: it outlives the process. */
export class ModelDisk {
  readonly rows = new Map<string, Map<string, Row>>();
  nextId = 1;
  readonly #numbers = new Map<string, number>();
  newestVersion = 0;

  numberOf(name: string): number | null {
    return this.#numbers.get(name) ?? null;
  }

  keepNumber(name: string, value: number): void {
    this.#numbers.set(name, value);
  }
}

interface Group {
  readonly rows: OutboxRow[];
  readonly settlements: Settlement[];
  readonly committed: PromiseWithResolvers<void>;
}

/** The outbox over plain maps, on a disk that a simulated process may leave behind. */
export class ModelOutbox implements PeerOutbox, HubOutbox {
  readonly problem = "";
  readonly dead = { list: () => [], retry: () => 0, drop: () => 0 };
  readonly limitBytes: number;
  readonly warnings: readonly string[] = [];
  readonly #flights = new Map<string, Set<string>>();
  readonly #listeners = new Map<string, () => void>();
  #group: Group = newGroup();
  #isScheduled = false;

  constructor(
    readonly disk: ModelDisk,
    private readonly options: {
      readonly nowMs: () => number;
      readonly defer: (run: () => void) => void;
      readonly limitBytes: number;
      readonly onCommit: (rows: readonly OutboxRow[]) => void;
    },
  ) {
    this.limitBytes = options.limitBytes;
  }

  get usedBytes(): number {
    let bytes = 0;
    for (const rows of this.disk.rows.values()) for (const row of rows.values()) bytes += costBytes(row);
    return bytes;
  }

  get newestVersion(): number {
    return this.disk.newestVersion;
  }

  numberOf(name: string): number | null {
    return this.disk.numberOf(name);
  }

  keepNumber(name: string, value: number): void {
    this.disk.keepNumber(name, value);
  }

  noteVersion(version: number): void {
    this.disk.newestVersion = Math.max(this.disk.newestVersion, version);
  }

  append(rows: readonly OutboxRow[]): Promise<void> {
    this.#group.rows.push(...rows);
    this.#schedule();
    return this.#group.committed.promise;
  }

  settle(settlements: readonly Settlement[]): Promise<void> {
    this.#group.settlements.push(...settlements);
    this.#schedule();
    return this.#group.committed.promise;
  }

  pendingValue(destination: string, key: string): Mutation | null {
    let newest = this.#rows(destination).get(key)?.mutation ?? null;
    for (const row of this.#group.rows) {
      if (row.destination !== destination || row.key !== key) continue;
      if (newest === null || replaces(row.mutation, newest)) newest = row.mutation;
    }
    return newest;
  }

  take(destination: string, request: TakeRequest): OutboxEntry[] {
    const nowMs = this.options.nowMs();
    const flight = this.#flight(destination);
    const taken: OutboxEntry[] = [];
    let bytes = 0;
    const rows = [...this.#rows(destination).values()].sort((a, b) => a.id - b.id);
    for (const row of rows) {
      if (taken.length >= request.limitEntries || bytes >= request.limitBytes) break;
      if (flight.has(row.key) || row.dueAtMs > nowMs) continue;
      flight.add(row.key);
      taken.push(entryOf(row));
      bytes += costBytes(row);
    }
    return taken;
  }

  takeKeys(destination: string, keys: readonly string[]): OutboxEntry[] {
    const flight = this.#flight(destination);
    const taken: OutboxEntry[] = [];
    for (const key of keys) {
      const row = this.#rows(destination).get(key);
      if (row === undefined || flight.has(key) || row.dueAtMs !== 0) continue;
      flight.add(key);
      taken.push(entryOf(row));
    }
    return taken;
  }

  counts(destination: string) {
    const rows = this.#rows(destination);
    let bytes = 0;
    for (const row of rows.values()) bytes += costBytes(row);
    return { pending: rows.size, dead: 0, bytes, inFlight: this.#flight(destination).size };
  }

  stats(destination: string) {
    let oldest = Number.POSITIVE_INFINITY;
    for (const { queuedAtMs } of this.#rows(destination).values()) oldest = Math.min(oldest, queuedAtMs);
    const oldestAgeMs = Number.isFinite(oldest) ? Math.max(0, this.options.nowMs() - oldest) : 0;
    return { ...this.counts(destination), oldestAgeMs };
  }

  nextDueAtMs(destination: string): number | null {
    let next = Number.POSITIVE_INFINITY;
    for (const { dueAtMs } of this.#rows(destination).values()) if (dueAtMs !== 0) next = Math.min(next, dueAtMs);
    return Number.isFinite(next) ? next : null;
  }

  onQueued(destination: string, wake: () => void): void {
    this.#listeners.set(destination, wake);
  }

  replaceAll(destination: string, rows: readonly OutboxRow[]): void {
    this.#rows(destination).clear();
    for (const row of rows) this.#insert(row);
    this.#listeners.get(destination)?.();
  }

  forget(destination: string): void {
    this.#rows(destination).clear();
  }

  close(): void {}

  destinations(): string[] {
    return [...this.disk.rows.keys()];
  }

  #schedule(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    this.options.defer(() => this.#commit());
  }

  #commit(): void {
    this.#isScheduled = false;
    const group = this.#group;
    this.#group = newGroup();
    const destinations = new Set<string>();
    for (const settlement of group.settlements) {
      this.#apply(settlement);
      destinations.add(settlement.entry.destination);
    }
    for (const row of group.rows) {
      this.#insert(row);
      destinations.add(row.destination);
    }
    this.options.onCommit(group.rows);
    group.committed.resolve();
    for (const destination of destinations) this.#listeners.get(destination)?.();
  }

  #insert({ destination, key, mutation }: OutboxRow): void {
    const { disk } = this;
    disk.newestVersion = Math.max(disk.newestVersion, mutation.stamp.version);
    const rows = this.#rows(destination);
    const there = rows.get(key);
    if (there !== undefined && !replaces(mutation, there.mutation)) return;
    const isInPlace = there !== undefined && there.dueAtMs === 0 && !this.#flight(destination).has(key);
    const id = isInPlace ? there.id : disk.nextId++;
    const queuedAtMs = isInPlace ? there.queuedAtMs : this.options.nowMs();
    rows.set(key, { destination, key, mutation, id, queuedAtMs, dueAtMs: 0 });
  }

  #apply(settlement: Settlement): void {
    const { entry } = settlement;
    const rows = this.#rows(entry.destination);
    const row = rows.get(entry.key);
    this.#flight(entry.destination).delete(entry.key);
    if (row === undefined || row.id !== entry.id) return;
    if (settlement.kind === "done") rows.delete(entry.key);
    if (settlement.kind === "postponed") rows.set(entry.key, { ...row, dueAtMs: settlement.dueAtMs });
  }

  #rows(destination: string): Map<string, Row> {
    let rows = this.disk.rows.get(destination);
    if (rows === undefined) {
      rows = new Map();
      this.disk.rows.set(destination, rows);
    }
    return rows;
  }

  #flight(destination: string): Set<string> {
    let flight = this.#flights.get(destination);
    if (flight === undefined) {
      flight = new Set();
      this.#flights.set(destination, flight);
    }
    return flight;
  }
}

function newGroup(): Group {
  return { rows: [], settlements: [], committed: Promise.withResolvers() };
}

function entryOf({ destination, key, mutation, id, queuedAtMs }: Row): OutboxEntry {
  return { destination, key, mutation, id, attempts: 0, queuedAtMs };
}
