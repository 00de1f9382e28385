/**
 * What waits for one peer: rows of the outbox, and the rule that they are few enough.
 *
 * Per key the newest mutation waits. Over the bound on bytes, values are not kept: "what is older than this is not to be
 * served" is. Over the bound on keys, one statement about all keys takes the place of everything. The peer misses what it
 * could have had, and never keeps what it shouldn't.
 */

import type { Mutation } from "../model/mutation.ts";
import type { Stamp } from "../model/stamp.ts";
import type { OutboxEntry, OutboxMutation } from "../outbox/entry.ts";
import type { Outbox } from "../outbox/outbox.ts";
import type { KeyFilter } from "./key-filter.ts";
import { invalidateRow, outdatedRow, rowOf, unplacedOf } from "./peer-rows.ts";

export type PeerOutbox = Pick<
  Outbox,
  | "append"
  | "take"
  | "pendingValue"
  | "takeKeys"
  | "settle"
  | "counts"
  | "stats"
  | "nextDueAtMs"
  | "onQueued"
  | "replaceAll"
  | "forget"
  | "destinations"
  | "usedBytes"
  | "limitBytes"
  | "newestVersion"
  | "noteVersion"
  | "numberOf"
  | "keepNumber"
  | "warnings"
>;

export interface PeerQueueOptions {
  readonly outbox: PeerOutbox;
  readonly destination: string;
  readonly filter: KeyFilter;
  /** Ms since the Unix epoch. */
  readonly nowMs: () => number;
  /** A stamp that is newer than everything that waits. */
  readonly nextStamp: () => Stamp;
  /** From so many bytes on, values are not kept. */
  readonly limitBytes: number;
  /** From so many keys on, none is. */
  readonly limitKeys: number;
  /** With more than this waiting, fresh mutations are let in before those that have waited for long. */
  readonly backlogRows: number;
}

/** Of all that may wait in the outbox, what the peers may take before they make way for the database. */
const OUTBOX_SHARE = 0.75;
/** Of the room in a batch; the rest is for what waits longest. */
const FRESH_SHARE = 0.75;
/** So long a mutation is fresh. */
const FRESH_MS = 1000;
/** Fresh keys that are remembered; older ones wait in the backlog like the others. */
const MOST_FRESH = 20_000;

/** Queued behind a backlog. */
interface Fresh {
  readonly key: string;
  readonly atMs: number;
}

export class PeerQueue {
  readonly #options: PeerQueueOptions;
  /** Keys of what was queued behind a backlog: not committed yet, and committed. */
  #arriving: Fresh[] = [];
  #fresh: Fresh[] = [];
  #collapses = 0;
  #valuesDropped = 0;

  constructor(options: PeerQueueOptions) {
    this.#options = options;
  }

  get collapses(): number {
    return this.#collapses;
  }

  get valuesDropped(): number {
    return this.#valuesDropped;
  }

  get hasBacklog(): boolean {
    const { outbox, destination, backlogRows } = this.#options;
    const { pending, inFlight } = outbox.counts(destination);
    return pending - inFlight > backlogRows;
  }

  /** Adds what the peer has to get of a mutation. `isOutdated`: something newer of its key is known. */
  addRowsOf(mutation: Mutation, isOutdated: boolean, rows: OutboxMutation[]): void {
    const { destination, filter, limitKeys, limitBytes, outbox } = this.#options;
    if (mutation.kind === "invalidate") {
      rows.push(...this.#invalidateRows(mutation.pattern, mutation.stamp));
      return;
    }
    if (!filter.takes(mutation.key)) return;
    const unplaced = unplacedOf(destination);
    if (outbox.counts(unplaced).pending > 0 && outbox.pendingValue(unplaced, mutation.key) !== null) {
      rows.push(outdatedRow(unplaced, mutation.key, mutation.stamp));
    }
    const { pending, bytes, inFlight } = outbox.counts(destination);
    const isFull = outbox.usedBytes > outbox.limitBytes * OUTBOX_SHARE;
    if (pending >= limitKeys || (isFull && pending > this.#options.backlogRows)) {
      this.collapse();
      return;
    }
    if (pending - inFlight > this.#options.backlogRows && this.#arriving.length < MOST_FRESH) {
      this.#arriving.push({ key: mutation.key, atMs: this.#options.nowMs() });
    }
    if (mutation.kind === "put" && bytes >= limitBytes) {
      this.#valuesDropped += 1;
      rows.push(outdatedRow(destination, mutation.key, mutation.stamp));
      return;
    }
    rows.push(isOutdated ? outdatedRow(destination, mutation.key, mutation.stamp) : rowOf(destination, mutation));
  }

  /** Forgets what waits for the peer, which is told not to serve anything that is older than now. */
  collapse(): void {
    const { outbox, destination, filter, nextStamp } = this.#options;
    const stamp = nextStamp();
    outbox.replaceAll(
      destination,
      filter.patterns.map((pattern) => invalidateRow(destination, pattern, stamp)),
    );
    outbox.forget(unplacedOf(destination));
    this.#collapses += 1;
    this.#arriving = [];
    this.#fresh = [];
  }

  /** A commit is done: what was appended before it can be taken. */
  committed(): void {
    if (this.#arriving.length === 0) return;
    const keys = this.#fresh.concat(this.#arriving);
    this.#fresh = keys.length > MOST_FRESH ? keys.slice(keys.length - MOST_FRESH) : keys;
    this.#arriving = [];
  }

  /** Takes what is fresh, where there is a backlog, and what waits longest. */
  take(limitRows: number, limitBytes: number): OutboxEntry[] {
    const { outbox, destination } = this.#options;
    const fresh = this.#takeFresh(Math.ceil(limitRows * FRESH_SHARE));
    const taken = fresh.length === 0 ? [] : outbox.takeKeys(destination, fresh);
    let bytes = 0;
    for (const { value } of taken) bytes += value?.length ?? 0;
    if (bytes >= limitBytes) return taken;
    return taken.concat(
      outbox.take(destination, {
        limitEntries: limitRows - taken.length,
        limitBytes: limitBytes - bytes,
        queuedUntilMs: Number.MAX_SAFE_INTEGER,
      }),
    );
  }

  /** What is not sent while it is fresh waits with the others: more comes than can be sent. */
  #takeFresh(limit: number): string[] {
    if (this.#fresh.length === 0) return [];
    const sinceMs = this.#options.nowMs() - FRESH_MS;
    const first = this.#fresh.findIndex(({ atMs }) => atMs >= sinceMs);
    if (first < 0) {
      this.#fresh = [];
      return [];
    }
    const taken = this.#fresh.slice(first, first + limit);
    this.#fresh = this.#fresh.slice(first + limit);
    return taken.map(({ key }) => key);
  }

  /** A clear of all keys says what everything that waits says; a pattern goes as it is. */
  #invalidateRows(pattern: string | null, stamp: Stamp): OutboxMutation[] {
    const { destination, filter } = this.#options;
    if (pattern !== null) return [invalidateRow(destination, pattern, stamp)];
    return filter.patterns.map((each) => invalidateRow(destination, each, stamp));
  }
}
