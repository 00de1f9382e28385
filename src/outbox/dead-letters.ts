/** What was refused for good and waits for an operator. */
import type { DeadLetter } from "./entry.ts";
import type { OutboxStore } from "./outbox-store.ts";
import type { QueueCounts } from "./queue-counts.ts";

export class DeadLetters {
  constructor(
    private readonly store: OutboxStore,
    private readonly transaction: (work: (counts: QueueCounts) => void) => void,
    private readonly onRevived: (letter: DeadLetter) => void,
  ) {}

  /** A page of those after the one with id `afterId` (0 = from the first). */
  list(destination: string, afterId: number, limit: number): DeadLetter[] {
    return this.store.dead(destination, afterId, limit);
  }

  /** Queues dead letters again, by id; gives how many. */
  retry(destination: string, ids: readonly number[]): number {
    const letters = this.#among(destination, ids);
    this.transaction((counts) => {
      for (const { id } of letters) {
        this.store.revive(id);
        counts.add(destination, { dead: -1, pending: 1 });
      }
    });
    for (const letter of letters) this.onRevived(letter);
    return letters.length;
  }

  /** Forgets dead letters, by id; gives how many. */
  drop(destination: string, ids: readonly number[]): number {
    const letters = this.#among(destination, ids);
    this.transaction((counts) => {
      const costs = this.store.removeAll(letters.map((letter) => letter.id));
      counts.add(destination, { dead: -costs.length, bytes: -costs.reduce((sum, cost) => sum + cost, 0) });
    });
    return letters.length;
  }

  #among(destination: string, ids: readonly number[]): DeadLetter[] {
    return ids.flatMap((id) => this.store.dead(destination, id - 1, 1).filter((letter) => letter.id === id));
  }
}
