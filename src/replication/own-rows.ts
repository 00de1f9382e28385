/**
 * The promise about the queues of the peers: **a queued put is not older than any mutation of its key that this node
 * ever knew**, whatever restarts came in between.
 *
 * A restarted peer has forgotten what it knew, so it cannot place an old put: it may have had a newer mutation. This
 * node can tell, by this promise, once it has received all mutations of all nodes up to the version that the peer had
 * reached. Until then the put waits in a separate queue (`unplacedOf`), which delays nothing else.
 *
 * So a newer mutation must be on the disk before it is acknowledged: a queued put is replaced by "outdated" when a
 * newer mutation of its key arrives from a peer, and invalidations are kept as long as anything is queued.
 */

import type { RecentInvalidations } from "../cache/recent-invalidations.ts";
import { keyOf } from "../model/key.ts";
import {
  asOf,
  hasValue,
  type InvalidateMutation,
  type Mutation,
  type ValueMutation,
  withoutValue,
} from "../model/mutation.ts";
import { isNewer, type Stamp } from "../model/stamp.ts";
import { type OutboxEntry, type OutboxRow, rowOf } from "../outbox/entry.ts";
import type { NodeState } from "./node-state.ts";
import type { PeerOutbox } from "./peer-queue.ts";
import { KNOWN_INVALIDATIONS, unplacedOf } from "./peer-rows.ts";
import { RecentStamps } from "./recent-stamps.ts";
import type { RecoveryHorizon } from "./recovery-horizon.ts";

export interface OwnRowsOptions {
  readonly outbox: PeerOutbox;
  readonly state: Pick<NodeState, "seenVersion" | "unsureVersion" | "noteUnsure">;
  /** The destinations of the peers' queues. */
  readonly destinations: readonly string[];
  readonly invalidations: RecentInvalidations;
  readonly horizon: Pick<RecoveryHorizon, "isComplete" | "lostUntil">;
  /** Restores one of this node's own entries, unless a newer one is here. */
  readonly restore: (put: ValueMutation) => unknown;
  readonly letOthersRun: () => Promise<void>;
  readonly nowMs: () => number;
}

/** More patterns than this are remembered as one invalidation of everything, which may cause misses. */
const MOST_INVALIDATIONS = 500;
const ROWS_TOGETHER = 500;
const BYTES_TOGETHER = 4 * 1024 * 1024;

export class OwnRows {
  readonly #options: OwnRowsOptions;
  readonly #queues: readonly string[];
  /** Mutations received from peers while a mutation of this node was between its stamp and its row. */
  readonly #foreign = new RecentStamps();
  /** The promise does not hold for puts up to this version: they were made when the disk was new. */
  #unsureUntil: number;
  /** Whether that version is not final yet. */
  #isLearning: boolean;

  constructor(options: OwnRowsOptions) {
    this.#options = options;
    const noted = options.state.unsureVersion;
    // A node that was restarted before its peers connected continues to learn it from them.
    this.#isLearning = noted === null || options.state.seenVersion === 0;
    this.#unsureUntil = noted ?? options.horizon.lostUntil;
    if (noted === null) options.state.noteUnsure(this.#unsureUntil);
    this.#queues = options.destinations.flatMap((destination) => [destination, unplacedOf(destination)]);
  }

  /** Whether a put of this node is older than a mutation received from a peer meanwhile. */
  isOutdated({ key, stamp }: ValueMutation): boolean {
    return this.#foreign.hasNewer(key, stamp);
  }

  /** Adds rows that remember an invalidation of this node, to be appended together with those for the peers. */
  addRowsOf({ pattern, stamp }: InvalidateMutation, rows: OutboxRow[]): void {
    if (this.#isAnyWaiting()) rows.push(this.#remembered(pattern, stamp));
  }

  /**
   * Records the mutations received from a peer. To be awaited before they are acknowledged. Rejects if the outbox is
   * full.
   */
  async note(mutations: readonly Mutation[]): Promise<void> {
    // Persisted before the seen version, after which the next start asks no peer any more.
    this.#learn();
    const rows: OutboxRow[] = [];
    const isAnyWaiting = this.#isAnyWaiting();
    const waiting = this.#queues.filter((queue) => this.#options.outbox.counts(queue).pending > 0);
    for (const mutation of mutations) {
      if (mutation.kind === "invalidate") {
        if (isAnyWaiting) rows.push(this.#remembered(mutation.pattern, mutation.stamp));
        continue;
      }
      this.#foreign.note(mutation.key, mutation.stamp);
      for (const queue of waiting) {
        const row = this.#options.outbox.pendingValue(queue, mutation.key);
        if (row === null || !hasValue(row) || !isNewer(mutation.stamp, row.stamp)) continue;
        rows.push(rowOf(queue, { kind: "outdated", key: mutation.key, stamp: mutation.stamp }));
      }
    }
    if (rows.length > 0) await this.#options.outbox.append(rows);
  }

  /** Whether the promise holds for all of these puts. */
  areSure(batch: readonly OutboxEntry[]): boolean {
    this.#learn();
    return batch.every((entry) => entry.mutation.stamp.version > this.#unsureUntil && !this.isInvalidated(entry));
  }

  /** Whether it will never be known if a newer mutation of the key was on a disk that this node has lost. */
  isUnsureForGood({ mutation: { stamp } }: OutboxEntry): boolean {
    this.#learn();
    return stamp.version <= this.#unsureUntil && !this.#isLearning;
  }

  #learn(): void {
    const { horizon, state } = this.#options;
    if (!this.#isLearning || !horizon.isComplete) return;
    this.#unsureUntil = Math.min(this.#unsureUntil, horizon.lostUntil);
    state.noteUnsure(this.#unsureUntil);
    this.#isLearning = false;
  }

  isInvalidated({ key, mutation }: OutboxEntry): boolean {
    return this.#options.invalidations.covering(keyOf(key), mutation.stamp) !== null;
  }

  /** After a restart: restores the remembered invalidations, and the entries that some peer does not have yet. */
  async recover(restoresEntries: boolean): Promise<void> {
    const { invalidations, restore, nowMs } = this.#options;
    await this.#each(KNOWN_INVALIDATIONS, ({ mutation: told }) => {
      if (told.kind === "invalidate") invalidations.add(told.pattern, told.stamp);
    });
    if (!restoresEntries) return;
    for (const queue of this.#queues) {
      await this.#each(queue, ({ mutation }) => {
        const told = asOf(mutation, nowMs());
        return hasValue(told) ? restore(told) : null;
      });
    }
  }

  async #each(queue: string, use: (entry: OutboxEntry) => unknown): Promise<void> {
    const { outbox, letOthersRun } = this.#options;
    const seen: OutboxEntry[] = [];
    const request = { limitEntries: ROWS_TOGETHER, limitBytes: BYTES_TOGETHER, queuedUntilMs: Number.MAX_SAFE_INTEGER };
    for (;;) {
      const entries = outbox.take(queue, request);
      if (entries.length === 0) break;
      for (const entry of entries) {
        await use(entry);
        seen.push({ ...entry, mutation: withoutValue(entry.mutation) });
      }
      await letOthersRun();
    }
    if (seen.length > 0) await outbox.settle(seen.map((entry) => ({ kind: "released", entry }))).catch(() => {});
  }

  #remembered(pattern: string | null, stamp: Stamp): OutboxRow {
    const { outbox } = this.#options;
    const isTooMany = outbox.counts(KNOWN_INVALIDATIONS).pending >= MOST_INVALIDATIONS;
    return rowOf(KNOWN_INVALIDATIONS, { kind: "invalidate", pattern: isTooMany ? null : pattern, stamp });
  }

  #isAnyWaiting(): boolean {
    const { outbox } = this.#options;
    if (this.#queues.some((queue) => outbox.counts(queue).pending > 0)) return true;
    if (outbox.counts(KNOWN_INVALIDATIONS).pending > 0) outbox.forget(KNOWN_INVALIDATIONS);
    return false;
  }
}
