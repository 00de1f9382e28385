/**
 * What does not wait any more, or has a row of its own by now, while the journal still holds it for what stands beside it:
 * the journal is told, so that a restart does not bring it back. A write that came back could be older than what this node
 * has learned of its key meanwhile.
 *
 * As long as a commit fails, or has no room for them, the marks wait for the next.
 */
import { withoutValue } from "../model/mutation.ts";
import { toVersion } from "../model/stamp.ts";
import { rowOf } from "./entry.ts";
import type { MemtableRow } from "./memtable.ts";
import type { Journaled } from "./write-ahead-log.ts";

interface Mark {
  readonly row: Journaled;
  /** The row of the journal that holds it last. */
  readonly groupId: number;
}

export class GoneRows {
  #marks: Mark[] = [];
  /** How many of them come from transactions before. */
  #kept = 0;
  #areWritten = false;

  add({ destination, key, mutation, group }: MemtableRow): void {
    this.#marks.push({
      row: { destination, key, mutation: withoutValue(mutation), state: "gone" },
      groupId: group.id,
    });
  }

  /** All that waits for a destination. */
  addAll(destination: string): void {
    const all = { kind: "invalidate", pattern: null, stamp: { version: toVersion(0), nodeId: 0 } } as const;
    this.#marks.push({
      row: { ...rowOf(destination, all), state: "all-gone" },
      groupId: Number.POSITIVE_INFINITY,
    });
  }

  /** Those that the journal has to hold, if it holds nothing up to one of its rows. */
  write(cutUpTo: number): Journaled[] {
    this.#areWritten = true;
    const needed: Journaled[] = [];
    for (const { row, groupId } of this.#marks) if (groupId > cutUpTo) needed.push(row);
    return needed;
  }

  /** The journal holds nothing any more. */
  clear(): void {
    this.#marks = [];
    this.#kept = 0;
  }

  /** To be called when the transaction is done … */
  keep(): void {
    if (this.#areWritten) this.#marks = [];
    this.#kept = this.#marks.length;
    this.#areWritten = false;
  }

  /** … or has failed. */
  undo(): void {
    this.#marks.length = this.#kept;
    this.#areWritten = false;
  }
}
