/**
 * Puts that a peer knows of and could not place, because it has restarted since: they wait in a separate queue and are
 * sent again, until this node can say that no newer mutation was ever known, or the peer reports one. See `OwnRows`.
 */
import { before, isNewer } from "../model/stamp.ts";
import type { OutboxEntry, Settlement } from "../outbox/entry.ts";
import type { Clock } from "../runtime/scheduler.ts";
import type { OwnRows } from "./own-rows.ts";
import type { PeerOutbox } from "./peer-queue.ts";
import { outdatedRow, peerMutationOf, unplacedOf } from "./peer-rows.ts";
import type { PeerMutation } from "./wire/peer-mutation.ts";

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
  mutationOf(entry: OutboxEntry): PeerMutation {
    const { scheduler, rows } = this.#options;
    if (rows.isInvalidated(entry)) return { kind: "outdated", key: entry.key, stamp: entry.stamp };
    return peerMutationOf(entry, scheduler.nowMs());
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
    const { destination, key, stamp } = entry;
    const waiting = outbox.pendingValue(destination, key)?.stamp;
    // A newer mutation of its key is queued, and replaces it.
    if (waiting?.version !== stamp.version || waiting.nodeId !== stamp.nodeId) return { kind: "done", entry };
    try {
      outbox.append([{ ...entry, destination: this.#queue }]).then(
        () => this.#outdate(entry),
        () => {},
      );
    } catch {
      return { kind: "released", entry };
    }
    return { kind: "done", entry };
  }

  /** A mutation queued in the commit that moved the put here could not see it here. */
  #outdate({ destination, key, stamp }: OutboxEntry): void {
    const { outbox } = this.#options;
    const newest = outbox.pendingValue(destination, key)?.stamp;
    if (newest === undefined || !isNewer(newest, stamp)) return;
    try {
      outbox.append([outdatedRow(this.#queue, key, before(newest))]).catch(() => {});
    } catch {
      // The outbox is full: the peer has what is newer before it is sure of this.
    }
  }

  /** Some were placed, so others may be placeable, too. */
  goOn(): void {
    this.#dueAtMs = 0;
  }
}
