import type { HubOutbox } from "../../src/node/hub.ts";
import { costBytes, type OutboxEntry, type OutboxMutation, replaces, type Settlement } from "../../src/outbox/entry.ts";
import type { TakeRequest } from "../../src/outbox/taker.ts";
import type { PeerOutbox } from "../../src/replication/peer-queue.ts";

interface Row {
  readonly id: number;
  readonly mutation: OutboxMutation;
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
  readonly mutations: OutboxMutation[];
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
      readonly onCommit: (mutations: readonly OutboxMutation[]) => void;
    },
  ) {
    this.limitBytes = options.limitBytes;
  }

  get usedBytes(): number {
    let bytes = 0;
    for (const rows of this.disk.rows.values()) for (const { mutation } of rows.values()) bytes += costBytes(mutation);
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

  append(mutations: readonly OutboxMutation[]): Promise<void> {
    this.#group.mutations.push(...mutations);
    this.#schedule();
    return this.#group.committed.promise;
  }

  settle(settlements: readonly Settlement[]): Promise<void> {
    this.#group.settlements.push(...settlements);
    this.#schedule();
    return this.#group.committed.promise;
  }

  pendingValue(destination: string, key: string): OutboxMutation | null {
    let newest = this.#rows(destination).get(key)?.mutation ?? null;
    for (const mutation of this.#group.mutations) {
      if (mutation.destination !== destination || mutation.key !== key) continue;
      if (newest === null || replaces(mutation, newest)) newest = mutation;
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
      if (flight.has(row.mutation.key) || row.dueAtMs > nowMs) continue;
      flight.add(row.mutation.key);
      taken.push(entryOf(row));
      bytes += costBytes(row.mutation);
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
    for (const { mutation } of rows.values()) bytes += costBytes(mutation);
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

  replaceAll(destination: string, mutations: readonly OutboxMutation[]): void {
    this.#rows(destination).clear();
    for (const mutation of mutations) this.#insert(mutation);
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
    for (const mutation of group.mutations) {
      this.#insert(mutation);
      destinations.add(mutation.destination);
    }
    this.options.onCommit(group.mutations);
    group.committed.resolve();
    for (const destination of destinations) this.#listeners.get(destination)?.();
  }

  #insert(mutation: OutboxMutation): void {
    const { disk } = this;
    disk.newestVersion = Math.max(disk.newestVersion, mutation.stamp.version);
    const rows = this.#rows(mutation.destination);
    const there = rows.get(mutation.key);
    if (there !== undefined && !replaces(mutation, there.mutation)) return;
    const isInPlace =
      there !== undefined && there.dueAtMs === 0 && !this.#flight(mutation.destination).has(mutation.key);
    const id = isInPlace ? there.id : disk.nextId++;
    const queuedAtMs = isInPlace ? there.queuedAtMs : this.options.nowMs();
    rows.set(mutation.key, { id, mutation, queuedAtMs, dueAtMs: 0 });
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
  return { mutations: [], settlements: [], committed: Promise.withResolvers() };
}

function entryOf({ id, mutation, queuedAtMs }: Row): OutboxEntry {
  return { ...mutation, id, attempts: 0, queuedAtMs };
}
