import {
  type DeleteOutcome,
  type DeleteRequest,
  type Engine,
  EngineFullError,
  type EngineHealth,
  type EngineStats,
  EngineUnavailableError,
  type EntrySink,
  type IncrementOutcome,
  type IncrementRequest,
  type LateReader,
  type PutOutcome,
  type PutRequest,
  type ScanPage,
  type ScanRequest,
  type TouchOutcome,
  type TouchRequest,
} from "../engine/engine.ts";
import { NEVER, valueWith } from "../model/entry.ts";
import { type Key, keyOf, nameOf } from "../model/key.ts";
import type { KeyPattern } from "../model/matcher.ts";
import { hasValue, type Mutation } from "../model/mutation.ts";
import { FILL_NODE_ID, isNewer, type Stamp } from "../model/stamp.ts";
import type { Awaitable } from "../runtime/awaitable.ts";
import type { BackingStore } from "./backing-store.ts";
import { type CapturedEntry, deliver, EntryCapture } from "./entry-capture.ts";
import type { RecentInvalidations } from "./recent-invalidations.ts";

/** Mutations that an engine that may be away could not be told. */
export interface PendingPort {
  /**
   * Keeps a mutation, which is recorded already, until the engine has it. Settles when that is durable; rejects with
   * `UpstreamError`.
   */
  keepPending(mutation: Mutation): Promise<void>;

  /** What of a key waits for the engine; null = nothing. */
  pendingOf(key: string): Promise<Mutation | null>;

  /** The engine may have done an unrecorded mutation with this stamp, of which nobody was told that it is done. */
  doubt(key: string, stamp: Stamp): void;
}

export interface AwayEngineOptions {
  readonly engine: Engine;
  readonly backingStore: BackingStore | null;
  readonly waiting: PendingPort;
  readonly invalidations: RecentInvalidations;
  readonly pending: PendingFlags;
  readonly nowMs: () => number;
}

/** What a client that is refused should wait. */
const RETRY_AFTER_MS = 1_000;

const ANY = 1;
const INVALIDATIONS = 2;

/** Whether anything waits for the engine, seen by all threads of a node: a load of one word where nothing does. */
export class PendingFlags {
  readonly #words: Int32Array;

  constructor(readonly buffer = new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT)) {
    this.#words = new Int32Array(buffer);
  }

  get hasAny(): boolean {
    return Atomics.load(this.#words, 0) !== 0;
  }

  get hasInvalidations(): boolean {
    return (Atomics.load(this.#words, 0) & INVALIDATIONS) !== 0;
  }

  add(kind: Mutation["kind"]): void {
    Atomics.or(this.#words, 0, kind === "invalidate" ? ANY | INVALIDATIONS : ANY);
  }

  clear(): void {
    Atomics.store(this.#words, 0, 0);
  }
}

/**
 * The engine as a linked cache sees it where it is a server that may be away.
 *
 * A mutation without a condition is recorded before it comes here: the database and the peers will have it. Where the
 * engine then does not answer, it waits in the outbox for the engine, too, and is done: it is applied later, in the order
 * of stamps. Until then it is what the key holds, whatever the engine says. A read that the engine can't answer is
 * answered by what is behind; that there is nothing there does not mean that the engine has none.
 */
export class AwayEngine implements Engine {
  readonly name: Engine["name"];
  readonly answersAtOnce = false;
  readonly refusesForgotten: boolean;
  readonly #options: AwayEngineOptions;
  readonly #engine: Engine;

  constructor(options: AwayEngineOptions) {
    this.#options = options;
    this.#engine = options.engine;
    this.name = options.engine.name;
    this.refusesForgotten = options.engine.refusesForgotten;
  }

  get(key: Key, sink: EntrySink): Awaitable<boolean> {
    if (this.#options.pending.hasAny) return this.#getBesidePending(keyOf(nameOf(key)), sink);
    const name = nameOf(key);
    try {
      const found = this.#engine.get(key, sink);
      return found instanceof Promise ? found.catch((error) => this.#getBehind(name, sink, error)) : found;
    } catch (error) {
      return this.#getBehind(name, sink, error);
    }
  }

  getLater(key: Key, reader: LateReader): boolean {
    return !this.#options.pending.hasAny && (this.#engine.getLater?.(key, reader) ?? false);
  }

  peek(key: Key, sink: EntrySink): Awaitable<boolean> {
    return this.#engine.peek(key, sink);
  }

  stampOf(key: Key): Awaitable<Stamp | null> {
    return this.#engine.stampOf(key);
  }

  requireReachable(key: Key | null): void {
    this.#engine.requireReachable?.(key);
  }

  put(request: PutRequest): Promise<PutOutcome> {
    const run = () => this.#engine.put(request);
    if (request.condition !== null) return this.#inOrder(request.key, request.stamp, run);
    return this.#orPending(() => putOf(request), "stored", run);
  }

  delete(request: DeleteRequest): Promise<DeleteOutcome> {
    const { key, stamp, condition } = request;
    const run = () => this.#engine.delete(request);
    if (condition !== null) return this.#inOrder(key, stamp, run);
    return this.#orPending(() => ({ kind: "delete", key: nameOf(key), stamp, isReplicated: false }), "deleted", run);
  }

  touch(request: TouchRequest): Promise<TouchOutcome> {
    return this.#inOrder(request.key, null, () => this.#engine.touch(request));
  }

  increment(request: IncrementRequest): Promise<IncrementOutcome> {
    return this.#inOrder(request.key, request.stamp, () => this.#engine.increment(request));
  }

  scan(request: ScanRequest): Awaitable<ScanPage> {
    if (this.#options.pending.hasAny) throw writesWait();
    return this.#engine.scan(request);
  }

  /** How many entries that were is not known where it is done later: 0. */
  deleteMatching(pattern: KeyPattern, stamp: Stamp): Promise<number> {
    const mutation = { kind: "invalidate", pattern: pattern.text, stamp, isReplicated: false } as const;
    return this.#orPending(
      () => mutation,
      0,
      () => this.#engine.deleteMatching(pattern, stamp),
    );
  }

  clear(stamp: Stamp): Promise<number> {
    const mutation = { kind: "invalidate", pattern: null, stamp, isReplicated: false } as const;
    return this.#orPending(
      () => mutation,
      0,
      () => this.#engine.clear(stamp),
    );
  }

  stats(): Awaitable<EngineStats> {
    return this.#engine.stats();
  }

  health(): EngineHealth {
    return this.#engine.health();
  }

  close(): Promise<void> {
    return this.#engine.close();
  }

  /** A mutation that is recorded: it is done now, or later. Behind one of its key that waits, it waits as well. */
  async #orPending<T>(mutationOf: () => Mutation, later: T, run: () => Awaitable<T>): Promise<T> {
    const { pending, waiting } = this.#options;
    if (pending.hasAny) {
      const mutation = mutationOf();
      const isBehind = mutation.kind !== "invalidate" && (await waiting.pendingOf(mutation.key)) !== null;
      if (isBehind) {
        await waiting.keepPending(mutation);
        return later;
      }
    }
    try {
      return await run();
    } catch (error) {
      if (!(error instanceof EngineUnavailableError || error instanceof EngineFullError)) throw error;
      await waiting.keepPending(mutationOf());
      return later;
    }
  }

  /** What depends on what is stored: not while something waits that it would have to see. A touch has no stamp. */
  async #inOrder<T>(key: Key, stamp: Stamp | null, run: () => Awaitable<T>): Promise<T> {
    const { pending, waiting } = this.#options;
    const name = nameOf(key);
    if (pending.hasInvalidations || (pending.hasAny && (await waiting.pendingOf(name)) !== null)) throw writesWait();
    try {
      return await run();
    } catch (error) {
      // It may have been done, and is not recorded: what became of it is looked at when the engine answers again.
      if (stamp !== null && error instanceof EngineUnavailableError) waiting.doubt(name, stamp);
      throw error;
    }
  }

  async #getBesidePending(key: Key, sink: EntrySink): Promise<boolean> {
    const { pending, waiting, invalidations, nowMs } = this.#options;
    const name = nameOf(key);
    const waits = await waiting.pendingOf(name);
    const capture = new EntryCapture();
    let entry: CapturedEntry | null = null;
    try {
      if (await this.#engine.get(key, capture)) entry = capture.entry();
    } catch (error) {
      // What waits may be only that a fill is gone, which says nothing of what is behind.
      if (waits === null || waits.stamp.nodeId === FILL_NODE_ID) return this.#getBehind(name, sink, error);
      if (!(error instanceof EngineUnavailableError)) throw error;
    }
    const isCovered = (stamp: Stamp) => invalidations.covering(key, stamp) !== null;
    // A pattern delete that the engine has done does not meet what waits.
    const isPending = waits !== null && !isCovered(waits.stamp);
    if (isPending && (entry === null || isNewer(waits.stamp, entry.stamp))) entry = entryOf(waits, nowMs());
    if (entry === null || (pending.hasInvalidations && isCovered(entry.stamp))) return false;
    return deliver(entry, sink);
  }

  async #getBehind(name: string, sink: EntrySink, error: unknown): Promise<boolean> {
    const { backingStore } = this.#options;
    if (!(error instanceof EngineUnavailableError) || backingStore === null) throw error;
    const loaded = await backingStore.load(name).catch(() => null);
    if (loaded?.kind !== "found") throw error;
    if (loaded.isStale && sink.markStale === undefined) throw error;
    if (loaded.isStale) sink.markStale?.();
    return deliver(loaded, sink);
  }
}

function putOf({ key, source, start, end, attributes, expiresAtMs, stamp }: PutRequest): Mutation {
  const value = valueWith(source.subarray(start, end), attributes);
  return { kind: "put", key: nameOf(key), value, expiresAtMs, stamp };
}

function entryOf(mutation: Mutation, nowMs: number): CapturedEntry | null {
  if (!hasValue(mutation)) return null;
  const { value, expiresAtMs, stamp } = mutation;
  return expiresAtMs !== NEVER && expiresAtMs <= nowMs ? null : { value, expiresAtMs, stamp };
}

function writesWait(): EngineUnavailableError {
  return new EngineUnavailableError("an earlier write still waits for Redis: try again", RETRY_AFTER_MS);
}
