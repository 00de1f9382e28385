/** Takes from a destination's queue what is to be delivered next. */
import type { OutboxEntry } from "./entry.ts";
import type { InFlight } from "./in-flight.ts";
import type { OutboxStore } from "./outbox-store.ts";
import { entryOf, type Queue } from "./queue.ts";
import type { QueueCounts } from "./queue-counts.ts";

export interface TakeRequest {
  readonly limitEntries: number;
  readonly limitBytes: number;
  /** Only what was queued up to this time, in ms since the Unix epoch. */
  readonly queuedUntilMs: number;
}

export interface TakerOptions {
  readonly store: OutboxStore;
  readonly queue: Queue;
  readonly inFlight: InFlight;
  readonly counts: QueueCounts;
  readonly nowMs: () => number;
  readonly transaction: (work: (counts: QueueCounts) => void) => void;
}

export class Taker {
  constructor(private readonly options: TakerOptions) {}

  /** Takes what waits longest; it is in flight until it is settled. Of a key, one mutation is in flight at a time. */
  take(destination: string, request: TakeRequest): OutboxEntry[] {
    const { store, queue, inFlight, counts } = this.options;
    const taken: OutboxEntry[] = [];
    let bytes = 0;
    const flight = inFlight.of(destination);
    const room = () => taken.length < request.limitEntries && bytes < request.limitBytes;
    const take = (id: number, key: string, costs: number) => {
      if (flight.has(key)) return;
      const entry = this.#readOrBury(destination, id);
      if (entry === null) return;
      flight.add(key);
      taken.push(entry);
      bytes += costs;
    };
    const nowMs = this.options.nowMs();
    // Queued in the future: the clock was set back since; waiting for that time would hold up everything behind it.
    const isRipe = (queuedAtMs: number) => queuedAtMs <= request.queuedUntilMs || queuedAtMs > nowMs;
    if (queue.hasRows(destination, counts)) {
      const due = store.due(destination, nowMs, request.limitEntries + flight.size);
      for (const head of due) if (room()) take(head.id, head.key, head.cost);
      while (room()) {
        const heads = store.ready(destination, flight.cursor, request.limitEntries);
        for (const head of heads) {
          if (!room() || !isRipe(head.queued_at)) return taken;
          flight.cursor = head.id;
          take(head.id, head.key, head.cost);
        }
        if (heads.length === 0) break;
      }
    }
    if (!room()) return taken;
    queue.eachWaiting(destination, (row) => {
      if (!isRipe(row.queuedAtMs)) return false;
      flight.add(row.key);
      taken.push(entryOf(row));
      bytes += row.cost;
      return room();
    });
    return taken;
  }

  /** As `take`, of these keys alone, whatever waits longer. */
  takeKeys(destination: string, keys: readonly string[]): OutboxEntry[] {
    const taken: OutboxEntry[] = [];
    const flight = this.options.inFlight.of(destination);
    for (const key of keys) {
      if (flight.has(key)) continue;
      const entry = this.options.queue.entry(destination, key) ?? this.#readyRow(destination, key);
      if (entry === null) continue;
      flight.add(key);
      taken.push(entry);
    }
    return taken;
  }

  #readyRow(destination: string, key: string): OutboxEntry | null {
    if (!this.options.queue.hasRows(destination, this.options.counts)) return null;
    const head = this.options.store.find(destination, key);
    return head === null || !this.options.store.isReady(head) ? null : this.#readOrBury(destination, head.id);
  }

  /** A row that is not what was written goes nowhere but to the dead letters. */
  #readOrBury(destination: string, id: number): OutboxEntry | null {
    const { store, transaction } = this.options;
    const entry = store.read(id);
    if (entry !== null) return entry;
    transaction((counts) => {
      store.bury(id, 0, "damaged in the outbox file; it can't be delivered");
      counts.add(destination, { pending: -1, dead: 1 });
    });
    return null;
  }
}
