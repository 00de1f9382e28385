import { Database } from "bun:sqlite";
import type { OutboxRow, Settlement } from "../../src/outbox/entry.ts";
import { InFlight } from "../../src/outbox/in-flight.ts";
import { OutboxStore, SCHEMA } from "../../src/outbox/outbox-store.ts";
import { type FreshLimits, Queue } from "../../src/outbox/queue.ts";
import { QueueCounts } from "../../src/outbox/queue-counts.ts";
import { Taker } from "../../src/outbox/taker.ts";
import { JOURNAL_SCHEMA } from "../../src/outbox/write-ahead-log.ts";

const ROOMY: FreshLimits = { rows: 1000, bytes: 1_000_000, ageMs: 10_000 };

/** The parts of an outbox on a database in memory, without its timers: a commit is one call. */
export class OutboxParts implements Disposable {
  readonly database = new Database(":memory:");
  readonly store: OutboxStore;
  readonly counts = new QueueCounts([]);
  nowMs = 1_000_000;
  inFlight = new InFlight();
  queue: Queue;
  taker: Taker;
  #commits = 0;

  constructor(private readonly limits: Partial<FreshLimits> = {}) {
    this.database.run(SCHEMA);
    this.database.run(JOURNAL_SCHEMA);
    this.store = new OutboxStore(this.database);
    [this.queue, this.taker] = this.#open();
  }

  append(...mutations: OutboxRow[]): void {
    this.#commit((commit) => this.queue.append(mutations, commit, this.counts));
  }

  settle(...settlements: Settlement[]): void {
    this.#commit((commit) => {
      this.queue.settle(settlements, this.counts);
      this.queue.append([], commit, this.counts);
    });
    for (const { entry, kind } of settlements) {
      this.inFlight.of(entry.destination).settle(entry, kind === "released");
    }
  }

  /** Does what a commit does and then fails. */
  failing(work: (queue: Queue) => void): void {
    this.database.run("BEGIN");
    work(this.queue);
    this.database.run("ROLLBACK");
    this.queue.undo();
  }

  /** As after a restart: gives what the journal and the table are read to hold. */
  reopened(): { readonly queue: Queue; readonly counts: QueueCounts; readonly newestVersion: number } {
    const counts = new QueueCounts(this.store.totals());
    const [queue] = this.#open();
    const { newestVersion } = queue.adopt(counts);
    return { queue, counts, newestVersion };
  }

  journalRows(): number {
    return Number(this.database.query<{ rows: number }, []>("SELECT count(*) AS rows FROM journal").get()?.rows);
  }

  tableKeys(): string[] {
    return this.database
      .query<{ key: string }, []>("SELECT key FROM entries ORDER BY id")
      .all()
      .map(({ key }) => key);
  }

  [Symbol.dispose](): void {
    this.database.close();
  }

  #commit(work: (commit: number) => void): void {
    this.database.run("BEGIN");
    work(++this.#commits);
    this.database.run("COMMIT");
    this.queue.keep();
  }

  #open(): [Queue, Taker] {
    const { store, inFlight, counts } = this;
    const nowMs = () => this.nowMs;
    const queue = new Queue(store, store.journal, inFlight, nowMs, { ...ROOMY, ...this.limits });
    const transaction = (work: (counts: QueueCounts) => void) => work(counts);
    return [queue, new Taker({ store, queue, inFlight, counts, nowMs, transaction })];
  }
}
