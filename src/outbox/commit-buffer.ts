/** What waits for the next commit: appends and settlements that share one transaction. */

import type { OutboxRow, Settlement } from "./entry.ts";

/** A group is committed at once when it has grown to this. */
const GROUP_LIMIT_BYTES = 8 * 1024 * 1024;
const GROUP_LIMIT_ROWS = 4096;

/** Turns of the event loop that a group may grow for, beside its first one. */
const TURNS_TO_GATHER = 3;

export interface CommitGroup {
  readonly rows: OutboxRow[];
  readonly settlements: Settlement[];
  /** To be settled with the commit. */
  readonly committed: PromiseWithResolvers<void>;
  bytes: number;
}

export class CommitBuffer {
  #group = newGroup();
  #isScheduled = false;

  constructor(
    /** Runs something after what this turn of the event loop brings. */
    private readonly defer: (run: () => void) => void,
    /** Is to `take` the group. */
    private readonly commit: () => void,
  ) {}

  get bytes(): number {
    return this.#group.bytes;
  }

  /** Resolves with the commit. `bytes`: the cost of all rows. */
  append(rows: readonly OutboxRow[], bytes: number): Promise<void> {
    const group = this.#group;
    group.bytes += bytes;
    for (const row of rows) group.rows.push(row);
    if (group.bytes > GROUP_LIMIT_BYTES || group.rows.length >= GROUP_LIMIT_ROWS) this.commit();
    else this.#schedule();
    return group.committed.promise;
  }

  /** As `append`; nobody has to handle a rejection. */
  settle(settlements: readonly Settlement[]): Promise<void> {
    this.#group.settlements.push(...settlements);
    const { promise } = this.#group.committed;
    promise.catch(() => {});
    this.#schedule();
    return promise;
  }

  /** Null = nothing waits. */
  take(): CommitGroup | null {
    this.#isScheduled = false;
    const group = this.#group;
    if (group.rows.length === 0 && group.settlements.length === 0) return null;
    this.#group = newGroup();
    return group;
  }

  #schedule(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    this.#gather(TURNS_TO_GATHER);
  }

  /** As long as a turn of the event loop brings more, the commit waits for the next: the larger the group, the cheaper. */
  #gather(turnsLeft: number): void {
    const seen = this.#group.rows.length;
    this.defer(() => {
      if (turnsLeft > 0 && this.#group.rows.length > seen) this.#gather(turnsLeft - 1);
      else this.commit();
    });
  }
}

function newGroup(): CommitGroup {
  return { rows: [], settlements: [], committed: Promise.withResolvers(), bytes: 0 };
}
