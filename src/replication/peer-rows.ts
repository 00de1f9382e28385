/** The form of mutations for a peer as rows of the outbox. */
import { NEVER } from "../model/entry.ts";
import type { Mutation, PutMutation } from "../model/mutation.ts";
import type { Stamp } from "../model/stamp.ts";
import { type OutboxMutation, putValueOf, touchOf, withTouch } from "../outbox/entry.ts";
import type { PeerMutation } from "./wire/peer-mutation.ts";

/** A key has no control characters, so that no other row of the outbox begins like this. */
const PATTERN_MARK = "\0p";
const EVERYTHING_MARK = "\0*";

const DESTINATION_MARK = "peer:";
const UNPLACED_MARK = "unplaced:";
/** The destination of invalidations that queued puts may be older than: see `OwnRows`. */
export const KNOWN_INVALIDATIONS = "invalidations";

export function destinationOf(peerName: string): string {
  return DESTINATION_MARK + peerName;
}

/** The destination of puts that a peer knows of and could not place: see `OwnRows`. */
export function unplacedOf(destination: string): string {
  return UNPLACED_MARK + destination.slice(DESTINATION_MARK.length);
}

/** The peer's queue that a destination belongs to; null = not a peer's. */
export function peerDestinationOf(destination: string): string | null {
  if (destination.startsWith(DESTINATION_MARK)) return destination;
  return destination.startsWith(UNPLACED_MARK) ? destinationOf(destination.slice(UNPLACED_MARK.length)) : null;
}

export function rowOf(destination: string, mutation: Mutation): OutboxMutation {
  if (mutation.kind === "put") return putRow(destination, mutation);
  const { stamp, traceContext } = mutation;
  if (mutation.kind === "invalidate") return invalidateRow(destination, mutation.pattern, stamp);
  return { ...withoutValue(destination, mutation.key, stamp), kind: "delete", traceContext };
}

/** "Entries older than this stamp must not be served": replaces a put whose value has no room. */
export function outdatedRow(destination: string, key: string, stamp: Stamp): OutboxMutation {
  return { ...withoutValue(destination, key, stamp), kind: "invalidate" };
}

/** `pattern` null = all keys. */
export function invalidateRow(destination: string, pattern: string | null, stamp: Stamp): OutboxMutation {
  const key = pattern === null ? EVERYTHING_MARK : PATTERN_MARK + pattern;
  return { ...withoutValue(destination, key, stamp), kind: "invalidate" };
}

/** The mutation that is sent; a value that has expired meanwhile is left out. */
export function peerMutationOf(entry: OutboxMutation, nowMs: number): PeerMutation {
  const { key, kind, stamp, expiresAtMs, contentType } = entry;
  if (kind === "delete") return { kind, key, stamp };
  if (kind === "invalidate") {
    if (key === EVERYTHING_MARK) return { kind, pattern: null, stamp };
    if (key.startsWith(PATTERN_MARK)) return { kind, pattern: key.slice(PATTERN_MARK.length), stamp };
    return { kind: "outdated", key, stamp };
  }
  const touch = touchOf(entry);
  // Older entries must go; the put itself expires by itself, or was touched meanwhile and lives longer.
  if (touch === null && expiresAtMs !== NEVER && expiresAtMs <= nowMs) return { kind: "outdated", key, stamp };
  return { kind: "put", key, value: putValueOf(entry), contentType, expiresAtMs, stamp, touch };
}

function putRow(destination: string, mutation: PutMutation): OutboxMutation {
  const { key, value, expiresAtMs, stamp, traceContext, touch } = mutation;
  const { bytes, contentType } = value;
  const common = { destination, key, contentType, expiresAtMs, stamp, traceContext };
  if (touch === null) return { ...common, kind: "put", value: bytes };
  return { ...common, kind: "touch", value: withTouch(bytes, touch) };
}

function withoutValue(destination: string, key: string, stamp: Stamp): Omit<OutboxMutation, "kind"> {
  return { destination, key, value: null, contentType: "", expiresAtMs: NEVER, stamp };
}
