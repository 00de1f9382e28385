/** What waits in the outbox. */

import { type Mutation, valueBytes } from "../model/mutation.ts";

/** One mutation on its way to one destination. */
export interface OutboxRow {
  /** Whom it is for: the backend, or a peer by its id. */
  readonly destination: string;
  /** Of the rows of a destination that have the same key, the newest waits. See `queueKeyOf`. */
  readonly key: string;
  /** The outbox keeps the buffer of a value as it is: it belongs to the outbox from now on. */
  readonly mutation: Mutation;
}

/** No key of an entry has a control character. */
const PATTERN_MARK = "\0";

/** What a mutation is about: a key, or the keys that a pattern names, or all of them. */
export function queueKeyOf(mutation: Mutation): string {
  return mutation.kind === "invalidate" ? PATTERN_MARK + (mutation.pattern ?? "") : mutation.key;
}

export function rowOf(destination: string, mutation: Mutation): OutboxRow {
  return { destination, key: queueKeyOf(mutation), mutation };
}

/** A row as it was taken from the queue. */
export interface OutboxEntry extends OutboxRow {
  /** Its place in the queue; not kept when a newer mutation of the key comes while this one is in flight. */
  readonly id: number;
  /** How often it was refused for good. */
  readonly attempts: number;
  /** When the first mutation that it stands for was queued, in ms since the Unix epoch. */
  readonly queuedAtMs: number;
}

/** What became of an entry that was taken. */
export type Settlement =
  | { readonly kind: "done"; readonly entry: OutboxEntry }
  /** Not tried, or not to be blamed: it waits again where it was. */
  | { readonly kind: "released"; readonly entry: OutboxEntry }
  /** Not to be blamed either, but it makes way for the others until `dueAtMs`. */
  | { readonly kind: "postponed"; readonly entry: OutboxEntry; readonly reason: string; readonly dueAtMs: number }
  /** Tried and refused: again at `dueAtMs`; null = to the dead letters. */
  | { readonly kind: "refused"; readonly entry: OutboxEntry; readonly reason: string; readonly dueAtMs: number | null };

export interface DeadLetter {
  readonly id: number;
  readonly destination: string;
  readonly key: string;
  readonly kind: Mutation["kind"];
  readonly version: number;
  readonly valueBytes: number;
  readonly contentType: string;
  readonly attempts: number;
  readonly reason: string;
  readonly queuedAtMs: number;
}

/** What an entry costs besides key and value: columns, indexes, page slack. Measured at 130 to 190 bytes. */
const ENTRY_OVERHEAD_BYTES = 200;

export function costBytes({ key, mutation }: OutboxRow): number {
  return ENTRY_OVERHEAD_BYTES + Buffer.byteLength(key) + valueBytes(mutation);
}
