/** What waits in the outbox, and the checksum that tells a damaged row from a whole one. */
import { crc32 } from "node:zlib";
import type { Stamp } from "../engine/engine.ts";

/** One mutation on its way to one destination. */
export interface OutboxMutation {
  /** Whom it is for: the backend, or a peer by its id. */
  readonly destination: string;
  readonly key: string;
  /** `invalidate`: of all keys that a pattern names; only peers get those. */
  readonly kind: OutboxKind;
  /** The value of a put. The outbox keeps the buffer as it is: it belongs to the outbox from now on. */
  readonly value: Buffer | null;
  readonly contentType: string;
  /** Absolute expiry in ms since the Unix epoch; `NEVER` = none. */
  readonly expiresAtMs: number;
  readonly stamp: Stamp;
  /** W3C trace context of the request that it came with. */
  readonly traceparent?: string | undefined;
}

export type OutboxKind = "put" | "delete" | "invalidate";

export function isOutboxKind(text: string): text is OutboxKind {
  return text === "put" || text === "delete" || text === "invalidate";
}

/** A mutation as it was taken from the queue. */
export interface OutboxEntry extends OutboxMutation {
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
  readonly kind: OutboxKind;
  readonly version: number;
  readonly valueBytes: number;
  readonly contentType: string;
  readonly attempts: number;
  readonly reason: string;
  readonly queuedAtMs: number;
}

/** What an entry costs besides key and value: columns, indexes, page slack. Measured at 130 to 190 bytes. */
const ENTRY_OVERHEAD_BYTES = 200;

export function costBytes(mutation: Pick<OutboxMutation, "key" | "value">): number {
  return ENTRY_OVERHEAD_BYTES + Buffer.byteLength(mutation.key) + (mutation.value?.length ?? 0);
}

/** Over everything that would do harm if it were wrong. SQLite has no checksums of its own in the database file. */
export function checksum(mutation: OutboxMutation): number {
  const { destination, key, kind, value, contentType, expiresAtMs, stamp } = mutation;
  const head = [destination, key, kind, contentType, expiresAtMs, stamp.version, stamp.origin].join("\0");
  const headSum = crc32(head);
  return value === null ? headSum : crc32(value, headSum);
}
