/**
 * The queue of one peer: rows of the outbox, with a bound.
 *
 * The newest mutation of each key is queued. Above the limit in bytes, a row says only that older values must not be
 * served, without the new value. Above the limit in keys, one row about all keys replaces the whole queue. The peer may
 * then miss values, but never keeps outdated ones.
 */

import { hasValue, type InvalidateMutation, type Mutation, valueBytes, withoutValue } from "../model/mutation.ts";
import { before, type Stamp } from "../model/stamp.ts";
import { type OutboxEntry, type OutboxRow, rowOf } from "../outbox/entry.ts";
import type { Outbox } from "../outbox/outbox.ts";
import type { KeyFilter } from "./key-filter.ts";
import { unplacedOf } from "./peer-rows.ts";

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
  /** Returns a stamp newer than all queued mutations. */
  readonly nextStamp: () => Stamp;
  /** Above this size, values are not kept. */
  readonly limitBytes: number;
  /** Above this number, keys are not kept. */
  readonly limitKeys: number;
  /** With a longer queue than this, fresh mutations are sent before those that have waited long. */
  readonly backlogRows: number;
}

/** The share of the outbox that the peers may use before they give way to the database. */
const OUTBOX_SHARE = 0.75;
/** The share of a batch for fresh mutations; the rest is for the oldest. */
const FRESH_SHARE = 0.75;
/** How long a mutation counts as fresh. */
const FRESH_MS = 1000;
/** The most fresh keys remembered; further ones wait in the backlog. */
const MOST_FRESH = 20_000;

/** A mutation queued behind a backlog. */
interface Fresh {
  readonly key: string;
  readonly atMs: number;
}

export class PeerQueue {
  readonly #options: PeerQueueOptions;
  /** Keys queued behind a backlog: not committed yet, and committed. */
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

  /** Adds the rows that the peer needs for a mutation. `isOutdated`: a newer mutation of its key is known. */
  addRowsOf(mutation: Mutation, isOutdated: boolean, rows: OutboxRow[]): void {
    const { destination, filter, limitKeys, limitBytes, outbox } = this.#options;
    if (mutation.kind === "invalidate") {
      for (const told of this.#toldOf(mutation)) rows.push(rowOf(destination, told));
      return;
    }
    if (!filter.takes(mutation.key)) return;
    const unplaced = unplacedOf(destination);
    if (outbox.counts(unplaced).pending > 0 && outbox.pendingValue(unplaced, mutation.key) !== null) {
      // Older than the mutation itself, which may come to wait there, too.
      rows.push(rowOf(unplaced, { kind: "outdated", key: mutation.key, stamp: before(mutation.stamp) }));
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
    const isDropped = hasValue(mutation) && bytes >= limitBytes;
    if (isDropped) this.#valuesDropped += 1;
    rows.push(rowOf(destination, isDropped || isOutdated ? withoutValue(mutation) : mutation));
  }

  /** Discards the queue, and tells the peer not to serve any entry older than now. */
  collapse(): void {
    const { outbox, destination, nextStamp } = this.#options;
    const all = this.#toldOf({ kind: "invalidate", pattern: null, stamp: nextStamp() });
    outbox.replaceAll(
      destination,
      all.map((told) => rowOf(destination, told)),
    );
    outbox.forget(unplacedOf(destination));
    this.#collapses += 1;
    this.#arriving = [];
    this.#fresh = [];
  }

  /** A commit is done: the rows appended before it can be taken. */
  committed(): void {
    if (this.#arriving.length === 0) return;
    const keys = this.#fresh.concat(this.#arriving);
    this.#fresh = keys.length > MOST_FRESH ? keys.slice(keys.length - MOST_FRESH) : keys;
    this.#arriving = [];
  }

  /** Takes fresh rows if there is a backlog, and the oldest ones. */
  take(limitRows: number, limitBytes: number): OutboxEntry[] {
    const { outbox, destination } = this.#options;
    const fresh = this.#takeFresh(Math.ceil(limitRows * FRESH_SHARE));
    const taken = fresh.length === 0 ? [] : outbox.takeKeys(destination, fresh);
    let bytes = 0;
    for (const { mutation } of taken) bytes += valueBytes(mutation);
    if (bytes >= limitBytes) return taken;
    return taken.concat(
      outbox.take(destination, {
        limitEntries: limitRows - taken.length,
        limitBytes: limitBytes - bytes,
        queuedUntilMs: Number.MAX_SAFE_INTEGER,
      }),
    );
  }

  /** Rows that are not sent while they are fresh join the backlog: more arrive than can be sent. */
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

  /** A clear is told as one of each pattern that the peer has keys of; a pattern goes as it is. */
  #toldOf(mutation: InvalidateMutation): InvalidateMutation[] {
    if (mutation.pattern !== null) return [mutation];
    return this.#options.filter.patterns.map((pattern) => ({ ...mutation, pattern }));
  }
}
