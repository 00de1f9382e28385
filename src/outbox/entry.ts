/** What waits in the outbox, and the checksum that tells a damaged row from a whole one. */

import { crc32 } from "node:zlib";
import { isSame } from "../engine/engine.ts";
import { isNewer, type Stamp, type Version } from "../model/stamp.ts";

/** One mutation on its way to one destination. */
export interface OutboxMutation {
  /** Whom it is for: the backend, or a peer by its id. */
  readonly destination: string;
  readonly key: string;
  /**
   * `invalidate`: of all keys that a pattern names; `touch`: a put whose expiry is newer than it, see `withTouch`. Only
   * peers get those.
   */
  readonly kind: OutboxKind;
  /** The value of a put. The outbox keeps the buffer as it is: it belongs to the outbox from now on. */
  readonly value: Buffer | null;
  readonly contentType: string;
  /** Absolute expiry in ms since the Unix epoch; `NEVER` = none. */
  readonly expiresAtMs: number;
  readonly stamp: Stamp;
  /** W3C trace context of the request that it came with. */
  readonly traceContext?: string | undefined;
}

/** In the order of their numbers in the journal. */
export const OUTBOX_KINDS = ["put", "delete", "invalidate", "touch"] as const;
export type OutboxKind = (typeof OUTBOX_KINDS)[number];

export function isOutboxKind(text: string): text is OutboxKind {
  return OUTBOX_KINDS.some((kind) => kind === text);
}

const TOUCH_BYTES = 12;

/** The value of a `touch`: version and node id of the touch, then the value that was put. */
export function withTouch(value: Buffer, touch: Stamp): Buffer {
  const joined = Buffer.allocUnsafe(TOUCH_BYTES + value.length);
  joined.writeDoubleLE(touch.version, 0);
  joined.writeUInt32LE(touch.nodeId, 8);
  value.copy(joined, TOUCH_BYTES);
  return joined;
}

export function touchOf({ kind, value }: Pick<OutboxMutation, "kind" | "value">): Stamp | null {
  if (kind !== "touch" || value === null || value.length < TOUCH_BYTES) return null;
  return { version: value.readDoubleLE(0) as Version, nodeId: value.readUInt32LE(8) };
}

/** Whether it brings a value. */
export function hasValue({ kind }: Pick<OutboxMutation, "kind">): boolean {
  return kind === "put" || kind === "touch";
}

/** The value that was put, by a `put` or before a `touch`. */
export function putValueOf({ kind, value }: Pick<OutboxMutation, "kind" | "value">): Buffer {
  return (kind === "touch" ? value?.subarray(TOUCH_BYTES) : value) ?? Buffer.alloc(0);
}

/** Whether a mutation says all that another of its key says, and more: the newer stamp, and of one put the newer touch. */
export function replaces(mutation: OutboxMutation, other: OutboxMutation): boolean {
  if (!isSame(mutation.stamp, other.stamp)) return isNewer(mutation.stamp, other.stamp);
  const touch = touchOf(mutation);
  if (touch === null) return false;
  const otherTouch = touchOf(other);
  return otherTouch === null || isNewer(touch, otherTouch);
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
  const head = [destination, key, kind, contentType, expiresAtMs, stamp.version, stamp.nodeId].join("\0");
  const headSum = crc32(head);
  return value === null ? headSum : crc32(value, headSum);
}
