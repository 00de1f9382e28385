/**
 * The promise about what waits for the peers: **a put that waits is not older than anything that this node ever knew of its
 * key**, whatever restarts came in between.
 *
 * A peer that has started anew has forgotten what it knew, so it can't place an old put: it may have had something newer.
 * This node can tell, by this promise, once it has everything of everybody up to the version that the peer had come to. Until
 * then the put waits in a queue of its own (`unplacedOf`), which holds up nothing else: the peer has heard of it.
 *
 * So what is newer must be on the disk before it is acknowledged: a put that waits is replaced by "outdated" when something
 * newer of its key comes from a peer, and invalidations are kept as long as anything waits.
 */

import type { RecentInvalidations } from "../cache/recent-invalidations.ts";
import type { InvalidateMutation, Mutation } from "../model/mutation.ts";
import { isNewer, type Stamp } from "../model/stamp.ts";
import { hasValue, type OutboxEntry, type OutboxMutation } from "../outbox/entry.ts";
import { keyOf } from "./applier.ts";
import type { NodeState } from "./node-state.ts";
import type { PeerOutbox } from "./peer-queue.ts";
import { invalidateRow, KNOWN_INVALIDATIONS, outdatedRow, peerMutationOf, unplacedOf } from "./peer-rows.ts";
import { RecentStamps } from "./recent-stamps.ts";
import type { RecoveryHorizon } from "./recovery-horizon.ts";
import type { PeerMutation, PeerPut } from "./wire/peer-mutation.ts";

export interface OwnRowsOptions {
  readonly outbox: PeerOutbox;
  readonly state: Pick<NodeState, "seenVersion" | "unsureVersion" | "noteUnsure">;
  /** Of the peers' queues. */
  readonly destinations: readonly string[];
  readonly invalidations: RecentInvalidations;
  readonly horizon: Pick<RecoveryHorizon, "isComplete" | "lostUntil">;
  /** Puts an entry of this node's own back, unless something newer is there. */
  readonly restore: (put: PeerPut) => unknown;
  readonly letOthersRun: () => Promise<void>;
  readonly nowMs: () => number;
}

/** More patterns than this are remembered as one invalidation of everything: a value may be missed then. */
const MOST_INVALIDATIONS = 500;
const ROWS_TOGETHER = 500;
const BYTES_TOGETHER = 4 * 1024 * 1024;

export class OwnRows {
  readonly #options: OwnRowsOptions;
  readonly #queues: readonly string[];
  /** What came from peers while a mutation of this node was on its way from its stamp to its row. */
  readonly #foreign = new RecentStamps();
  /** Of puts up to this version the promise does not hold: they were made when the disk was new. */
  #unsureUntil: number;
  /** Whether it is not known yet how far that goes. */
  #isLearning: boolean;

  constructor(options: OwnRowsOptions) {
    this.#options = options;
    const noted = options.state.unsureVersion;
    // Where this node was restarted before it had heard its peers, it goes on learning what they had told it.
    this.#isLearning = noted === null || options.state.seenVersion === 0;
    this.#unsureUntil = noted ?? options.horizon.lostUntil;
    if (noted === null) options.state.noteUnsure(this.#unsureUntil);
    this.#queues = options.destinations.flatMap((destination) => [destination, unplacedOf(destination)]);
  }

  /** Whether a put of this node is older than what a peer has told meanwhile. */
  isOutdated({ key, stamp }: Extract<Mutation, { readonly kind: "put" }>): boolean {
    return this.#foreign.hasNewer(key, stamp);
  }

  /** Rows that remember an invalidation of this node, to be appended with those for the peers. */
  addRowsOf({ pattern, stamp }: InvalidateMutation, rows: OutboxMutation[]): void {
    if (this.#isAnyWaiting()) rows.push(this.#remembered(pattern, stamp));
  }

  /** Takes note of what a peer has told. To be awaited before it is acknowledged. Rejects where the outbox is full. */
  async note(mutations: readonly PeerMutation[]): Promise<void> {
    // On the disk before it is noted there what was seen: the next start asks nobody any more.
    this.#learn();
    const rows: OutboxMutation[] = [];
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
        rows.push(outdatedRow(queue, mutation.key, mutation.stamp));
      }
    }
    if (rows.length > 0) await this.#options.outbox.append(rows);
  }

  /** Whether the promise holds for all of these puts. */
  areSure(batch: readonly OutboxEntry[]): boolean {
    this.#learn();
    return batch.every((entry) => entry.stamp.version > this.#unsureUntil && !this.isInvalidated(entry));
  }

  /** Whether it will never be known if something newer was known of the key on a disk that this node has lost. */
  isUnsureForGood({ stamp }: OutboxEntry): boolean {
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

  isInvalidated({ key, stamp }: OutboxEntry): boolean {
    return this.#options.invalidations.covering(keyOf(key), stamp) !== null;
  }

  /** After a restart: what was remembered of invalidations, and the entries that not all peers have yet. */
  async recover(restoresEntries: boolean): Promise<void> {
    const { invalidations, restore, nowMs } = this.#options;
    await this.#each(KNOWN_INVALIDATIONS, (entry) => {
      const told = peerMutationOf(entry, 0);
      if (told.kind === "invalidate") invalidations.add(told.pattern, told.stamp);
    });
    if (!restoresEntries) return;
    for (const queue of this.#queues) {
      await this.#each(queue, (entry) => {
        const told = peerMutationOf(entry, nowMs());
        return told.kind === "put" ? restore(told) : null;
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
        seen.push({ ...entry, value: null });
      }
      await letOthersRun();
    }
    if (seen.length > 0) await outbox.settle(seen.map((entry) => ({ kind: "released", entry }))).catch(() => {});
  }

  #remembered(pattern: string | null, stamp: Stamp): OutboxMutation {
    const { outbox } = this.#options;
    const isTooMany = outbox.counts(KNOWN_INVALIDATIONS).pending >= MOST_INVALIDATIONS;
    return invalidateRow(KNOWN_INVALIDATIONS, isTooMany ? null : pattern, stamp);
  }

  #isAnyWaiting(): boolean {
    const { outbox } = this.#options;
    if (this.#queues.some((queue) => outbox.counts(queue).pending > 0)) return true;
    if (outbox.counts(KNOWN_INVALIDATIONS).pending > 0) outbox.forget(KNOWN_INVALIDATIONS);
    return false;
  }
}
