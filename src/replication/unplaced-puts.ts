/**
 * Puts that a peer knows of and could not place, because it has restarted since: they wait in a separate queue and are
 * sent again, until this node can say that no newer mutation was ever known, or the peer reports one. See `OwnRows`.
 */
import { asOf, type Mutation, withoutValue } from "../model/mutation.ts";
import { before, isNewer, isSame } from "../model/stamp.ts";
import { type OutboxEntry, rowOf, type Settlement } from "../outbox/entry.ts";
import type { Clock } from "../runtime/scheduler.ts";
import type { OwnRows } from "./own-rows.ts";
import type { PeerOutbox } from "./peer-queue.ts";
import { unplacedOf } from "./peer-rows.ts";

export interface UnplacedPutsOptions {
  readonly outbox: PeerOutbox;
  /** The destination of the peer. */
  readonly destination: string;
  readonly scheduler: Clock;
  /** Pause between two attempts that place nothing, in ms. */
  readonly pauseMs: number;
  readonly rows: Pick<OwnRows, "isInvalidated" | "isUnsureForGood">;
}

export class UnplacedPuts {
  readonly #options: UnplacedPutsOptions;
  readonly #queue: string;
  #dueAtMs = 0;

  constructor(options: UnplacedPutsOptions) {
    this.#options = options;
    this.#queue = unplacedOf(options.destination);
  }

  get count(): number {
    return this.#options.outbox.counts(this.#queue).pending;
  }

  holds({ destination }: OutboxEntry): boolean {
    return destination === this.#queue;
  }

  forget(): void {
    this.#options.outbox.forget(this.#queue);
  }

  /** Takes some puts that are due. The next ones are due when these have been placed, or after the pause. */
  take(limitEntries: number, limitBytes: number): OutboxEntry[] {
    const { outbox, scheduler, pauseMs } = this.#options;
    const nowMs = scheduler.monotonicMs();
    if (nowMs < this.#dueAtMs || this.count === 0) return [];
    this.#dueAtMs = nowMs + pauseMs;
    return outbox.take(this.#queue, { limitEntries, limitBytes, queuedUntilMs: Number.MAX_SAFE_INTEGER });
  }

  /** The mutation that is sent; a put that a newer mutation covers is not to be placed any more. */
  mutationOf(entry: OutboxEntry): Mutation {
    const { scheduler, rows } = this.#options;
    return rows.isInvalidated(entry) ? withoutValue(entry.mutation) : asOf(entry.mutation, scheduler.nowMs());
  }

  /**
   * The settlement of a put that the peer could not place. It moves here in the same commit that takes it from its
   * queue.
   */
  settle(entry: OutboxEntry): Settlement {
    // Made before this node, on a new disk, had connected to its peers: this node keeps it, the peer does without.
    if (this.#options.rows.isUnsureForGood(entry)) return { kind: "done", entry };
    if (this.holds(entry)) return { kind: "released", entry };
    const { outbox } = this.#options;
    const { destination, key, mutation } = entry;
    const waiting = outbox.pendingValue(destination, key)?.stamp;
    // A newer mutation of its key is queued, and replaces it.
    if (waiting === undefined || !isSame(waiting, mutation.stamp)) return { kind: "done", entry };
    try {
      outbox.append([rowOf(this.#queue, mutation)]).then(
        () => this.#outdate(entry),
        () => {},
      );
    } catch {
      return { kind: "released", entry };
    }
    return { kind: "done", entry };
  }

  /** A mutation queued in the commit that moved the put here could not see it here. */
  #outdate({ destination, key, mutation }: OutboxEntry): void {
    const { outbox } = this.#options;
    const newest = outbox.pendingValue(destination, key)?.stamp;
    if (newest === undefined || !isNewer(newest, mutation.stamp)) return;
    try {
      outbox.append([rowOf(this.#queue, { kind: "outdated", key, stamp: before(newest) })]).catch(() => {});
    } catch {
      // The outbox is full: the peer has what is newer before it is sure of this.
    }
  }

  /** Some were placed, so others may be placeable, too. */
  goOn(): void {
    this.#dueAtMs = 0;
  }
}
