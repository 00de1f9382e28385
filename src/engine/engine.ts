/**
 * The contract that every engine keeps.
 *
 * An engine stores entries under keys and knows the version rule; it knows nothing of HTTP, of peers, of backends.
 * Calls on the hot path take reusable objects and return plain values where the engine can answer at once, so that a
 * hit on the memory engine creates neither a promise nor garbage.
 */

import type { Completion } from "../model/completion.ts";
import type { Attributes } from "../model/entry.ts";
import type { Key } from "../model/key.ts";
import type { KeyPattern } from "../model/matcher.ts";
import type { Stamp } from "../model/stamp.ts";
import type { Awaitable } from "../runtime/awaitable.ts";

/** For values from this size on, an engine that answers at once may have to make room first (`Engine.makeRoom`). */
export const LARGE_VALUE_BYTES = 64 * 1024;

/** The longest JSON text that counts as a counter, white space included. */
export const MAX_INTEGER_TEXT_BYTES = 1024;

/** Of a client's text, in the message of an error. */
const MAX_QUOTED_CHARACTERS = 40;

/** What an engine knows of an entry besides its value. Reused by the engine: valid during the call that gets it. */
export interface EntryInfo {
  /** Length of the value, in bytes. */
  readonly valueLength: number;
  readonly attributes: Attributes;
  /** Absolute expiry in ms since the Unix epoch; `NEVER` = none. */
  readonly expiresAtMs: number;
  /**
   * A safe integer that changes whenever the entry does, but not with its expiry: what an ETag is made of. The version
   * where the engine keeps one; else a hash of the value and of what each write is marked with.
   */
  readonly revision: number;
  readonly stamp: Stamp;
  /** For values that are read in parts later. Engines whose memory is elsewhere leave it out. Valid after the call, too. */
  readonly parts?: ValueParts | undefined;
}

/** Bytes `offset .. offset + length` of a value, and where they go: `target` from `start`. */
export interface ValuePart {
  readonly offset: number;
  readonly length: number;
  readonly target: Buffer;
  readonly start: number;
}

export interface ValueParts {
  /**
   * Copies a part of the value of the entry that was found with this stamp, also where it has expired since.
   *
   * @returns false where that entry is not there any more: it was replaced, touched, deleted or evicted. What is in the
   * target then is of no use.
   */
  copyPart(key: Key, stamp: Stamp, part: ValuePart): boolean;
}

/** Where `get` puts what it found. */
export interface EntrySink {
  /**
   * Called when the entry is found, before its value is copied. It may be called again, when an optimistic read has to
   * start over: each call forgets the one before. Return false if the value is not wanted; else make room for
   * `entry.valueLength` bytes in `target` from `offset`.
   */
  begin(entry: EntryInfo): boolean;
  /** Where the value's bytes go. Read after `begin` returned true. */
  readonly target: Buffer;
  readonly offset: number;
  /**
   * Called before `begin`: this is an old value, because the newest one can't be had now. A sink that leaves it out gets
   * no such values.
   */
  readonly markStale?: (() => void) | undefined;
}

/**
 * Reads from an engine that answers later: done with whether the entry was found. `begin`, the copy of the value and
 * `done(true)` come in one go, with no other call in between.
 */
export type LateReader = EntrySink & Completion<boolean>;

/** What must hold of the stored entry for a mutation to be done. Expired entries are absent. */
export type Condition =
  | { readonly kind: "absent" }
  | { readonly kind: "present" }
  /** Present, with one of these revisions (`If-Match: "…"`). */
  | { readonly kind: "revision-in"; readonly revisions: readonly number[] }
  /** Absent, or present with none of these revisions (`If-None-Match: "…"`). */
  | { readonly kind: "revision-not-in"; readonly revisions: readonly number[] };

/** A put. The value is `source[start .. end)`, copied before `put` returns. */
export interface PutRequest {
  readonly key: Key;
  readonly source: Buffer;
  readonly start: number;
  readonly end: number;
  readonly attributes: Attributes;
  /** Absolute expiry in ms since the Unix epoch; `NEVER` = none. */
  readonly expiresAtMs: number;
  readonly stamp: Stamp;
  /** Null = unconditional. */
  readonly condition: Condition | null;
}

/**
 * - `stored`: done.
 * - `superseded`: what is stored, or a delete or clear that is remembered, is newer; nothing changed.
 * - `condition-failed`: nothing changed.
 * - `too-large`: the entry can never fit into this engine's memory.
 */
export type PutOutcome = "stored" | "superseded" | "condition-failed" | "too-large";

export interface DeleteRequest {
  readonly key: Key;
  readonly stamp: Stamp;
  readonly condition: Condition | null;
  /**
   * Until when to remember the delete against older puts that may still arrive, in ms since the Unix epoch;
   * `NEVER` = leave nothing behind.
   */
  readonly tombstoneUntilMs: number;
}

/** `deleted`: an entry was there and is gone. `absent`: there was none. */
export type DeleteOutcome = "deleted" | "absent" | "superseded" | "condition-failed";

/** A new expiry. The entry keeps its stamp: a touch changes nothing else of it, and overwrites nothing. */
export interface TouchRequest {
  readonly key: Key;
  readonly expiresAtMs: number;
  /** Only the entry with this stamp is touched; null = whichever is there. */
  readonly seen: Stamp | null;
  readonly condition: Condition | null;
}

/** `absent`: no such entry is there. */
export type TouchOutcome = "touched" | "absent" | "condition-failed";

export interface IncrementRequest {
  readonly key: Key;
  /** A safe integer. */
  readonly delta: number;
  /** Expiry of the entry if the call makes it; one that exists keeps its own. */
  readonly expiresAtMsIfNew: number;
  readonly stamp: Stamp;
  readonly condition: Condition | null;
}

/**
 * An absent entry counts from 0.
 * - `not-an-integer`: the value is not JSON text of a safe integer, or longer than `MAX_INTEGER_TEXT_BYTES`.
 * - `out-of-range`: the sum is not a safe integer.
 */
export type IncrementOutcome =
  | { readonly kind: "incremented"; readonly value: number }
  | { readonly kind: "not-an-integer" | "out-of-range" | "superseded" | "condition-failed" | "too-large" };

/** One step of a scan: the keys found, and where to go on; null = the end. */
export interface ScanPage {
  readonly keys: string[];
  readonly cursor: string | null;
}

export interface ScanRequest {
  readonly pattern: KeyPattern | null;
  /** Null = from the beginning; else a cursor that an earlier page gave. */
  readonly cursor: string | null;
  /** At most so many keys in the page; fewer (even none) may come before the end. */
  readonly limit: number;
}

/** Counts since the engine was made, and gauges of now; of all threads together. */
export interface EngineStats {
  /** Entries that are stored (an expired one counts until it is pruned). */
  readonly entries: number;
  /** Bytes of everything the engine holds on behalf of entries, headers and index included; null = unknown. */
  readonly usedBytes: number | null;
  readonly limitBytes: number | null;
  readonly hits: number;
  readonly misses: number;
  readonly sets: number;
  readonly deletes: number;
  readonly evictions: number;
  /** The same, by why it was these that had to make room: names are the engine's own. */
  readonly evictionsByReason: Readonly<Record<string, number>>;
  readonly expirations: number;
}

export type EngineHealth = {
  readonly status: "ok" | "degraded" | "unavailable";
  /** What an operator needs to know; empty when all is well. */
  readonly detail: string;
  /** Since when, in ms since the Unix epoch. */
  readonly sinceMs: number;
};

export interface Engine {
  readonly name: "memory" | "redis";
  /** Every call but `deleteMatching` and `clear` gives its answer itself, never a promise. */
  readonly answersAtOnce: boolean;
  /** A put is superseded also by what is forgotten: a newer entry that was evicted or expired, an old delete. */
  readonly refusesForgotten: boolean;

  /** Finds a live entry, counts a hit or a miss, and hands the entry to `sink`. False = there is none. */
  get(key: Key, sink: EntrySink): Awaitable<boolean>;
  /**
   * As `get`, without a promise; the key stays as it is until the reader is told. False = not in this way now: ask
   * `get`. Engines that answer at once leave it out.
   */
  getLater?(key: Key, reader: LateReader): boolean;
  /** As `get`, but counts nothing and makes no entry stay longer: for those who copy the cache. */
  peek(key: Key, sink: EntrySink): Awaitable<boolean>;
  /** The stamp of the newest mutation that is known of a key, of a delete too; null = none is known. */
  stampOf(key: Key): Awaitable<Stamp | null>;
  /**
   * Gets of the first `count` keys will follow: a chance to wait for all of them together instead of one by one.
   * It changes nothing; engines that gain nothing leave it out.
   */
  expectGets?(keys: readonly Key[], count: number): void;
  /**
   * Whether a value can ever fit: where it can't, a put of it is `too-large`. Engines that know no limit of their own
   * leave it out.
   */
  fits?(keyLength: number, value: Pick<PutRequest, "start" | "end" | "attributes">): boolean;
  /**
   * Makes room for a value of so many bytes in short turns, with other work of this thread in between: a put of it would
   * otherwise evict thousands of entries in one go. Null = the next put needs no more than a turn. Ask again before the
   * put: others may have taken the room. Engines whose memory is elsewhere leave it out.
   */
  makeRoom?(valueBytes: number): Promise<void> | null;
  put(request: PutRequest): Awaitable<PutOutcome>;
  delete(request: DeleteRequest): Awaitable<DeleteOutcome>;
  /** Sets another expiry, and nothing else. */
  touch(request: TouchRequest): Awaitable<TouchOutcome>;
  /** Adds to a counter, atomically. */
  increment(request: IncrementRequest): Awaitable<IncrementOutcome>;

  /** A key that is stored throughout a scan is returned by it. Throws `InvalidCursorError`. */
  scan(request: ScanRequest): Awaitable<ScanPage>;

  /**
   * Removes every entry that matches and is not newer than the stamp; gives how many were removed. It lets other work
   * of this thread run in between.
   */
  deleteMatching(pattern: KeyPattern, stamp: Stamp): Promise<number>;

  /**
   * Removes every entry that is not newer than the stamp; gives how many were removed. Older puts are refused from the call
   * on. It lets other work of this thread run in between.
   */
  clear(stamp: Stamp): Promise<number>;

  stats(): Awaitable<EngineStats>;
  health(): EngineHealth;

  /**
   * Throws `EngineUnavailableError` where a mutation of the key would fail now; null = of all keys. To be asked before a
   * mutation is told to anybody else. Engines that are always there leave it out.
   */
  requireReachable?(key: Key | null): void;

  close(): Promise<void>;
}

/** A cursor that no scan of this engine gave. */
export class InvalidCursorError extends Error {
  readonly code = "ERR_INVALID_CURSOR";
  constructor(readonly cursor: string) {
    super(`cursor ${quotedCursor(cursor)} is not one that this API returned; start again without a cursor`);
  }
}

/** What the message quotes: a client may have sent kilobytes. */
function quotedCursor(cursor: string): string {
  return JSON.stringify(cursor.length <= MAX_QUOTED_CHARACTERS ? cursor : `${cursor.slice(0, MAX_QUOTED_CHARACTERS)}…`);
}

/** The engine can't be reached now. */
export class EngineUnavailableError extends Error {
  readonly code = "ERR_ENGINE_UNAVAILABLE";
  constructor(
    message: string,
    readonly retryAfterMs: number,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/** The engine refuses this one call, and will do so again. */
export class EngineRefusedError extends Error {
  constructor(
    /**
     * - `ERR_ENGINE_FORBIDDEN`: the node has no right to it there.
     * - `ERR_WRONG_TYPE`: something of another program stands there that is no entry.
     * - `ERR_TOO_LARGE`: what stands there is larger than a value may be.
     */
    readonly code: "ERR_ENGINE_FORBIDDEN" | "ERR_WRONG_TYPE" | "ERR_TOO_LARGE",
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/** The engine has no room for a write, and may not make any. */
export class EngineFullError extends Error {
  readonly code = "ERR_ENGINE_FULL";
}
