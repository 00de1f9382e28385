/**
 * The durable queue of mutations that the backend or a peer has not yet acknowledged.
 *
 * Per destination and key, the newest mutation waits and older ones are forgotten. Appends of one turn of the event loop
 * share one transaction, because the commit is what costs. What was taken is in flight in memory only: after a restart
 * it waits again, so whoever takes must do no harm when he writes twice.
 */

import type { Mutation } from "../model/mutation.ts";
import type { Scheduler } from "../runtime/scheduler.ts";
import { Ballast } from "./ballast.ts";
import { CommitBuffer, type CommitGroup } from "./commit-buffer.ts";
import type { CommitMark } from "./commit-mark.ts";
import type { DataDirectory } from "./data-directory.ts";
import { DeadLetters } from "./dead-letters.ts";
import { DirectoryWatch } from "./directory-watch.ts";
import { costBytes, type OutboxEntry, type OutboxRow, type Settlement } from "./entry.ts";
import { InFlight } from "./in-flight.ts";
import { openStore, type StoreOptions } from "./open-store.ts";
import { diskFull, OutboxFullError } from "./outbox-errors.ts";
import type { OutboxStore } from "./outbox-store.ts";
import { FRESH_LIMITS, type FreshLimits, Queue } from "./queue.ts";
import { QueueCounts } from "./queue-counts.ts";
import { type TakeRequest, Taker } from "./taker.ts";

export interface OutboxOptions extends Omit<StoreOptions, "nowMs"> {
  /** Bound on what waits, dead letters included, in bytes. */
  readonly limitBytes: number;
  readonly scheduler: Scheduler;
  /** Runs the group commit after the appends of this turn. */
  readonly defer: (run: () => void) => void;
  /** Bounds on what is in memory before it has a row of its own; as usual where it is left out. */
  readonly fresh?: FreshLimits;
}

export interface OutboxCounts {
  readonly pending: number;
  readonly dead: number;
  readonly bytes: number;
  readonly inFlight: number;
}

export interface OutboxStats extends OutboxCounts {
  /** Age of what waits longest, in ms; 0 = nothing waits. */
  readonly oldestAgeMs: number;
}

/** After a failed commit, the next look for room. */
const RETRY_MS = 1000;

export class Outbox {
  /** What an operator must know of how the file was found; empty when all is well. */
  readonly warnings: readonly string[];
  readonly limitBytes: number;
  readonly dead: DeadLetters;
  readonly #store: OutboxStore;
  readonly #mark: CommitMark;
  readonly #counts: QueueCounts;
  readonly #queue: Queue;
  readonly #inFlight = new InFlight();
  readonly #taker: Taker;
  readonly #listeners = new Map<string, () => void>();
  readonly #ballast: Ballast;
  /** False from a failed commit on until the disk has room again. */
  #hasDisk = true;
  /** The folder was removed under the node: what is written now is lost with the process. */
  #isGone = false;
  readonly #watch: DirectoryWatch;
  readonly #buffer: CommitBuffer;
  #commits: number;
  #newestVersion: number;
  #isClosed = false;

  private constructor(
    private readonly options: OutboxOptions,
    opened: ReturnType<typeof openStore>,
    private readonly directory: DataDirectory,
  ) {
    this.#ballast = new Ballast(directory.file("ballast"));
    // Without a reserve, the log must not grow to what its own checkpoint then has no room for.
    if (!this.#ballast.raise()) opened.store.checkpointOften();
    this.limitBytes = options.limitBytes;
    this.#store = opened.store;
    this.#mark = opened.mark;
    this.#counts = new QueueCounts(opened.store.totals());
    const { store } = opened;
    const nowMs = () => options.scheduler.nowMs();
    this.#queue = new Queue(store, store.journal, this.#inFlight, nowMs, options.fresh ?? FRESH_LIMITS);
    this.#taker = new Taker({
      store,
      queue: this.#queue,
      inFlight: this.#inFlight,
      counts: this.#counts,
      nowMs,
      transaction: (work) => this.#transaction(work),
    });
    this.#buffer = new CommitBuffer(options.defer, () => this.#commit());
    this.#commits = store.commits();
    this.#newestVersion = opened.store.newestVersion();
    this.dead = new DeadLetters(
      opened.store,
      (work) => this.#transaction(work),
      (letter) => {
        this.#inFlight.of(letter.destination).lowerCursor(letter.id);
        this.#listeners.get(letter.destination)?.();
      },
    );
    this.warnings = [...opened.warnings, ...this.#adoptJournal()];
    this.#mark.write({ commits: this.#commits, entries: this.#counts.entries });
    this.#watch = new DirectoryWatch(opened.path, options.scheduler, () => {
      this.#isGone = true;
    });
  }

  /** Throws `OutboxOpenError` where the file can't be used. */
  static open(directory: DataDirectory, options: OutboxOptions): Outbox {
    const { sync, limitPages, scheduler } = options;
    const opened = openStore(directory, { sync, limitPages, nowMs: () => scheduler.nowMs() });
    return new Outbox(options, opened, directory);
  }

  /**
   * The newest version that was ever committed or noted here, also before a restart: a node that goes on with older stamps
   * than it gave out before would lose against itself.
   */
  get newestVersion(): number {
    return this.#newestVersion;
  }

  /** A number that another keeps beside the queue, by its name; null = none is kept. */
  numberOf(name: string): number | null {
    return this.#store.numberOf(name);
  }

  /** Keeps such a number, in a commit that is done when it gives control back. Throws where the disk is full. */
  keepNumber(name: string, value: number): void {
    this.#transaction(() => this.#store.keepNumber(name, value));
  }

  /** Keeps a version, if it is newer than `newestVersion`, before it gives control back. Throws where the disk is full. */
  noteVersion(version: number): void {
    if (version > this.#newestVersion) this.#transaction(() => {}, version);
  }

  /** Why nothing can be appended now; empty = it can, unless it is full. */
  get problem(): string {
    if (this.#isGone) return this.#goneMessage();
    return this.#hasDisk ? "" : "the disk of SERV_CACHE_DATA_DIR has no room";
  }

  /** Bytes that wait, those of appends under way included. */
  get usedBytes(): number {
    return this.#counts.bytes + this.#buffer.bytes;
  }

  /**
   * Keeps rows; resolves when the commit that contains them is done. All of them are kept or none.
   * Throws `OutboxFullError` at once where there is no room, and rejects with it where the disk has none.
   */
  append(rows: readonly OutboxRow[]): Promise<void> {
    let bytes = 0;
    for (const row of rows) bytes += costBytes(row);
    if (this.usedBytes + bytes > this.limitBytes) {
      throw new OutboxFullError(
        `the outbox is full (SERV_CACHE_OUTBOX_MAX, ${this.limitBytes} bytes): the backend or a peer takes nothing; try again`,
      );
    }
    return this.#add(rows, bytes);
  }

  /** As `append`, beyond the bound as well: of mutations that were taken before, and now have another destination. */
  appendOwed(rows: readonly OutboxRow[]): Promise<void> {
    return this.#add(
      rows,
      rows.reduce((sum, row) => sum + costBytes(row), 0),
    );
  }

  #add(rows: readonly OutboxRow[], bytes: number): Promise<void> {
    if (this.#isClosed) throw new OutboxFullError("the node stops; try another");
    if (this.#isGone) throw new OutboxFullError(this.#goneMessage());
    if (!this.#hasDisk) throw diskFull("it was full a moment ago");
    return this.#buffer.append(rows, bytes);
  }

  /**
   * The newest committed mutation of a key that waits for a destination, or is under way to it: what the destination
   * will hold, and not yet holds. Null = nothing waits, or it is a dead letter. What waits for its commit is not shown:
   * the commit may fail.
   */
  pendingValue(destination: string, key: string): Mutation | null {
    return this.#queue.find(destination, key) ?? this.#pendingRow(destination, key);
  }

  /** What waits for a destination and is as new as a version, in whatever order. Looks at all that waits. */
  recent(destination: string, sinceVersion: number): Mutation[] {
    return this.#queue.recent(destination, sinceVersion);
  }

  /** Takes what waits longest; it is in flight until it is settled. Of a key, one mutation is in flight at a time. */
  take(destination: string, request: TakeRequest): OutboxEntry[] {
    return this.#taker.take(destination, request);
  }

  /** As `take`, of these keys alone, whatever waits longer. */
  takeKeys(destination: string, keys: readonly string[]): OutboxEntry[] {
    return this.#taker.takeKeys(destination, keys);
  }

  /** Says what became of entries that were taken; resolves when that is durable. */
  settle(settlements: readonly Settlement[]): Promise<void> {
    // The caller may go on without waiting; a failed commit is tried again.
    return this.#buffer.settle(settlements);
  }

  /** When a delayed entry is due next, in ms since the Unix epoch; null = none is delayed. */
  nextDueAtMs(destination: string): number | null {
    if (!this.#queue.hasRows(destination, this.#counts)) return null;
    return this.#store.soonestDueAtMs(destination);
  }

  /** Calls `wake` after each commit that leaves something new for a destination. */
  onQueued(destination: string, wake: () => void): void {
    this.#listeners.set(destination, wake);
  }

  /** Costs nothing: no row is looked at. */
  counts(destination: string): OutboxCounts {
    const { pending, dead, bytes } = this.#counts.of(destination);
    return { pending, dead, bytes, inFlight: this.#inFlight.of(destination).size };
  }

  stats(destination: string): OutboxStats {
    const counts = this.counts(destination);
    const inTable = this.#queue.hasRows(destination, this.#counts) ? this.#store.oldestQueuedAtMs(destination) : null;
    const nowMs = this.options.scheduler.nowMs();
    const oldestMs = Math.min(inTable ?? nowMs, this.#queue.oldestQueuedAtMs(destination) ?? nowMs);
    return { ...counts, oldestAgeMs: nowMs - oldestMs };
  }

  destinations(): string[] {
    return this.#counts.destinations();
  }

  /** Replaces all that waits for a destination by a few mutations that say enough. Throws where the disk is full. */
  replaceAll(destination: string, rows: readonly OutboxRow[]): void {
    this.#transaction((counts, commit) => {
      this.#queue.clear(destination, counts);
      return this.#queue.append(rows, commit, counts);
    }, newestOf(rows));
    this.#listeners.get(destination)?.();
  }

  /** Forgets everything that waits for a destination, which is no more. */
  forget(destination: string): void {
    this.#transaction((counts, commit) => {
      this.#queue.clear(destination, counts);
      return this.#queue.append([], commit, counts);
    });
  }

  /** Commits what was appended, and closes the file. */
  close(): void {
    if (this.#isClosed) return;
    this.#watch[Symbol.dispose]();
    this.#commit();
    this.#isClosed = true;
    try {
      this.#transaction(() => this.#queue.moveAll());
    } catch {
      // The disk is full: all of it is in the journal, and found there at the next start.
    }
    this.#store.close();
    this.#mark.close();
  }

  /** What a process that was killed had in its journal. */
  #adoptJournal(): string[] {
    const counts = this.#counts.fork();
    const { damaged, newestVersion } = this.#queue.adopt(counts);
    this.#queue.keep();
    this.#counts.adopt(counts);
    this.#newestVersion = Math.max(this.#newestVersion, newestVersion);
    if (damaged.length === 0) return [];
    try {
      this.#store.transaction(() => {
        for (const id of damaged) this.#store.journal.setAside(id);
      });
    } catch {
      // The disk is full: they are in the journal as long as anything of it waits.
    }
    return [
      `${damaged.length} groups of waiting writes are damaged in the outbox file and could not all be read; they are kept in ` +
        "its table journal_damaged. Writes of theirs may not have reached the backend: compare it",
    ];
  }

  #goneMessage(): string {
    return (
      `SERV_CACHE_DATA_DIR ${this.directory.path} was removed or replaced while the node runs: ` +
      `${this.#counts.entries} writes wait in this process alone; let them drain, stop the node, and start it again`
    );
  }

  #pendingRow(destination: string, key: string): Mutation | null {
    if (!this.#queue.hasRows(destination, this.#counts)) return null;
    const head = this.#store.find(destination, key);
    return head === null || this.#store.isDead(head) ? null : (this.#store.read(head.id)?.mutation ?? null);
  }

  #commit(): void {
    const group = this.#isClosed ? null : this.#buffer.take();
    if (group === null) return;
    try {
      this.#transaction((counts, commit) => {
        this.#queue.settle(group.settlements, counts);
        return this.#queue.append(group.rows, commit, counts);
      }, newestOf(group.rows));
    } catch (error) {
      group.committed.reject(diskFull(error));
      this.#makeRoom(group.settlements);
      return;
    }
    this.#land(group.settlements);
    group.committed.resolve();
    for (const destination of destinationsOf(group)) this.#listeners.get(destination)?.();
  }

  /** What was settled durably is in flight no more. */
  #land(settlements: readonly Settlement[]): void {
    for (const { entry, kind } of settlements) {
      this.#inFlight.of(entry.destination).settle(entry, kind === "released");
    }
  }

  /** After a failed commit: what is done goes first, and appends wait until there is room again. */
  #makeRoom(settlements: readonly Settlement[]): void {
    this.#hasDisk = false;
    this.#ballast.drop();
    let left = settlements;
    try {
      this.#transaction((counts) => this.#queue.settle(settlements, counts));
      this.#land(settlements);
      left = [];
    } catch {
      // Still no room: the settlements are tried again with the next look.
    }
    this.options.scheduler.after(RETRY_MS, () => {
      if (this.#isClosed) return;
      if (left.length > 0) void this.settle(left);
      this.#lookForRoom();
    });
  }

  #lookForRoom(): void {
    if (this.#isClosed || this.#hasDisk) return;
    this.#store.shrink();
    this.#hasDisk = this.#ballast.raise();
    if (!this.#hasDisk) this.options.scheduler.after(RETRY_MS, () => this.#lookForRoom());
  }

  /**
   * The counts and the newest version change when the commit is done, and not before. `work` gets the commit's number, and
   * gives true where it has left it in the journal.
   */
  #transaction(work: (counts: QueueCounts, commit: number) => unknown, version = 0): void {
    const newestVersion = Math.max(this.#newestVersion, version);
    const counts = this.#counts.fork();
    const commit = this.#commits + 1;
    try {
      this.#store.transaction(() => {
        if (work(counts, commit) !== true) this.#store.note(commit, newestVersion);
      });
    } catch (error) {
      this.#queue.undo();
      throw error;
    }
    this.#queue.keep();
    this.#counts.adopt(counts);
    this.#newestVersion = newestVersion;
    this.#commits = commit;
    this.#mark.write({ commits: commit, entries: this.#counts.entries });
  }
}

function newestOf(rows: readonly OutboxRow[]): number {
  return rows.reduce((newest, { mutation }) => Math.max(newest, mutation.stamp.version), 0);
}

function destinationsOf({ rows, settlements }: CommitGroup): Set<string> {
  const destinations = new Set<string>();
  for (const row of rows) destinations.add(row.destination);
  for (const { entry } of settlements) destinations.add(entry.destination);
  return destinations;
}
