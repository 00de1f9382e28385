/**
 * The use cases of a node that has something behind its cache: a backend, peers, or both.
 *
 * Reads are as before; who misses may ask for a load. A write without a condition is durable in the outbox first, and
 * then put, so that nothing is in the cache that was refused; it is put with the stamp that it was recorded with, or
 * something newer is there already and it has happened before that. What depends on the stored entry (a condition, a counter, a
 * touch) is done first and then recorded; where that fails, the entry is dropped, and the next read loads what is true.
 */

import type {
  Condition,
  DeleteOutcome,
  EntryInfo,
  EntrySink,
  IncrementOutcome,
  LateReader,
  PutOutcome,
  TouchOutcome,
} from "../engine/engine.ts";
import type { Completion } from "../model/completion.ts";
import { JSON_ATTRIBUTES, NEVER, valueWith } from "../model/entry.ts";
import { copyKey, type Key, keyOf, nameOf } from "../model/key.ts";
import type { KeyPattern } from "../model/matcher.ts";
import { FILL_NODE_ID, type Stamp } from "../model/stamp.ts";
import type { Awaitable } from "../runtime/awaitable.ts";
import {
  Cache,
  type CacheOptions,
  DEFAULT_TTL,
  FROM_CLIENT,
  type LoadSink,
  MOST_STAMPS,
  type MutationContext,
  type NewValue,
} from "./cache.ts";
import { type CapturedEntry, EntryCapture } from "./entry-capture.ts";
import type { KeyGate } from "./key-gate.ts";
import { isKept, LinkedPut } from "./linked-put.ts";
import { LinkedStore, type OwnPut } from "./linked-store.ts";
import type { RecentInvalidations } from "./recent-invalidations.ts";
import type { RecentPuts } from "./recent-puts.ts";
import { IGNORED, RefreshSink } from "./refresh-sink.ts";
import { type Loaded, refusedKey, type Upstream, UpstreamError } from "./upstream.ts";

export interface LinkedCacheOptions extends CacheOptions {
  readonly upstream: Upstream;
  readonly invalidations: RecentInvalidations;
  readonly recentPuts: RecentPuts;
  readonly gate: KeyGate;
}

/** The original sends its message right after the put that it speaks of. */
const GOSSIP_MS = 2_000;

/** When a change of a value that is only known from before is worth another try. */
const STALE_RETRY_MS = 1_000;

/** Every engine takes values of this size. */
const EVERYWHERE_FITS_BYTES = 16 * 1024;

/** Keys whose deletes are recorded together, when a pattern deletes from the backend as well. */
const DELETES_TOGETHER = 500;

export class LinkedCache extends Cache {
  override readonly loads: boolean;
  readonly #upstream: Upstream;
  readonly #invalidations: RecentInvalidations;
  readonly #recentPuts: RecentPuts;
  readonly #refreshing: RefreshSink;
  readonly #store: LinkedStore;
  readonly #gate: KeyGate;

  constructor(options: LinkedCacheOptions) {
    super(options);
    this.#upstream = options.upstream;
    this.#invalidations = options.invalidations;
    this.#recentPuts = options.recentPuts;
    this.#gate = options.gate;
    this.#store = new LinkedStore(this.engine, this.#invalidations, () => this.stamp());
    this.loads = options.upstream.loads;
    this.#refreshing = new RefreshSink(options.upstream.refreshAheadMs, options.nowMs);
  }

  override get writesAtOnce(): boolean {
    return false;
  }

  override get(key: Key, sink: EntrySink): Awaitable<boolean> {
    if (this.#upstream.refreshAheadMs === 0) return this.engine.get(key, sink);
    return this.#getAndRefresh(key, sink);
  }

  override getLater(key: Key, reader: LateReader): boolean {
    return !this.loads && this.#upstream.refreshAheadMs === 0 && super.getLater(key, reader);
  }

  override async load(key: Key, sink: LoadSink, traceContext?: string): Promise<boolean> {
    const name = nameOf(key);
    if (!this.#gate.isRecorded(key)) await this.#gate.recorded(copyKey(key));
    const loaded = await this.#upstream.load(name, traceContext);
    if (loaded.kind === "absent") return false;
    deliver(loaded, sink);
    return true;
  }

  override put(
    key: Key,
    value: NewValue,
    ttlMs: number,
    condition: Condition | null,
    context: MutationContext = FROM_CLIENT,
  ): Promise<PutOutcome> {
    if (this.#isTooLarge(key, value)) return Promise.resolve("too-large");
    const put = this.#ownPut(key, value, ttlMs, context);
    if (condition !== null) return this.#putIf(put, condition, context);
    return new Promise((resolve, reject) => {
      const completion = { done: resolve, failed: reject };
      const outcome = this.#begin(put, this.#gate.placeOf(key), context, completion);
      if (outcome !== null) resolve(outcome);
    });
  }

  override putLater(
    key: Key,
    value: NewValue,
    ttlMs: number,
    context: MutationContext,
    completion: Completion<PutOutcome>,
  ): PutOutcome | null | undefined {
    if (this.#isTooLarge(key, value)) return "too-large";
    const put = this.#ownPut(key, value, ttlMs, context);
    return this.#begin(put, this.#gate.placeOf(key), context, completion);
  }

  override async gossipInvalidate(key: Key): Promise<void> {
    if (!this.loads || this.#recentPuts.has(key, this.nowMs(), GOSSIP_MS)) return;
    await this.delete(key, null, { isReplicated: true });
  }

  override async delete(
    key: Key,
    condition: Condition | null,
    context: MutationContext = FROM_CLIENT,
  ): Promise<DeleteOutcome> {
    const own = copyKey(key);
    const name = nameOf(own);
    this.engine.requireReachable?.(own);
    if (condition === null) return this.#deleteRecorded(own, name, context);
    await this.#fetch(own, name);
    for (let stamps = 1; ; stamps++) {
      const tombstoneUntilMs = this.#tombstoneUntilMs();
      const outcome = await this.#alone(
        own,
        (stamp) => this.engine.delete({ key: own, stamp, condition, tombstoneUntilMs }),
        async (done, stamp) => {
          // A delete that can't be recorded is no loss for the cache: what it removed is loaded again.
          if (done === "deleted") await this.#upstream.record({ kind: "delete", key: name, stamp, ...context });
          return done;
        },
      );
      if (outcome !== "superseded" || stamps === MOST_STAMPS) return outcome;
    }
  }

  override async touch(
    key: Key,
    ttlMs: number,
    condition: Condition | null,
    context: MutationContext = FROM_CLIENT,
  ): Promise<TouchOutcome> {
    const own = copyKey(key);
    const name = nameOf(own);
    const expiresAtMs = this.expiryOf(ttlMs);
    for (let tries = 1; ; tries++) {
      const isThere = await this.#fetch(own, name);
      let isUndone = false;
      const outcome = await this.#alone(
        own,
        () => this.engine.touch({ key: own, expiresAtMs, seen: null, condition }),
        async (done, stamp) => {
          const entry = done === "touched" ? await this.#capture(own) : null;
          if (entry === null) return done;
          isUndone = await this.#store.isInvalidated(own, entry.stamp);
          if (isUndone) return "absent";
          // A copy of what the database has is nobody else's affair, nor is how long it is kept.
          if (entry.stamp.nodeId === FILL_NODE_ID) return done;
          await this.#upstream.record({ kind: "put", key: name, ...entry, touch: stamp, ...context });
          return done;
        },
      );
      // It has expired here since it was fetched.
      const isLost = outcome === "absent" && isThere === true && !isUndone;
      if (!isLost || tries === MOST_STAMPS) return outcome;
    }
  }

  override async increment(
    key: Key,
    delta: number,
    condition: Condition | null,
    context: MutationContext = FROM_CLIENT,
  ): Promise<IncrementOutcome> {
    const own = copyKey(key);
    const name = nameOf(own);
    const expiresAtMsIfNew = this.expiryOf(DEFAULT_TTL);
    for (let stamps = 1; ; stamps++) {
      const isThere = await this.#fetch(own, name, context);
      if (condition?.kind === "absent" && isThere === true) return { kind: "condition-failed" };
      // What has expired here since it was fetched must not be counted from 0: the backend has more.
      const request = { key: own, delta, expiresAtMsIfNew, condition: condition ?? asFetched(isThere) };
      let isUndone = false;
      const outcome = await this.#alone(
        own,
        (stamp) => this.engine.increment({ ...request, stamp }),
        async (done, stamp) => {
          if (done.kind !== "incremented") return done;
          isUndone = await this.#store.isInvalidated(own, stamp);
          if (!isUndone) await this.#recordCount(own, name, done.value, stamp, context);
          return done;
        },
      );
      if (outcome.kind === "incremented" && !isUndone) return outcome;
      const isChanged = condition === null && outcome.kind === "condition-failed";
      if (stamps === MOST_STAMPS) return isChanged ? { kind: "superseded" } : outcome;
      if (outcome.kind !== "superseded" && !isUndone && !isChanged) return outcome;
    }
  }

  override async deleteMatching(pattern: KeyPattern, context: MutationContext = FROM_CLIENT): Promise<number> {
    this.engine.requireReachable?.(null);
    const stamp = this.stamp();
    await this.#recordInvalidation(pattern, stamp, context);
    this.#invalidations.add(pattern.text, stamp);
    return this.engine.deleteMatching(pattern, stamp);
  }

  override async clear(context: MutationContext = FROM_CLIENT): Promise<number> {
    this.engine.requireReachable?.(null);
    const stamp = this.stamp();
    await this.#recordInvalidation(null, stamp, context);
    this.#invalidations.add(null, stamp);
    return this.engine.clear(stamp);
  }

  /** Asked before anything is recorded: what the cache can't hold is refused, and goes nowhere. */
  #isTooLarge(key: Key, value: NewValue): boolean {
    return value.end - value.start > EVERYWHERE_FITS_BYTES && this.engine.fits?.(key.length, value) === false;
  }

  /** As a put: it is done with the stamp that it was recorded with, and before whatever is newer. */
  async #deleteRecorded(key: Key, name: string, context: MutationContext): Promise<DeleteOutcome> {
    const place = this.#gate.placeOf(key);
    await this.#gate.enter(place);
    try {
      const stamp = this.stamp();
      await this.#upstream.record({ kind: "delete", key: name, stamp, ...context });
      const tombstoneUntilMs = this.#tombstoneUntilMs();
      const outcome = await this.engine.delete({ key, stamp, condition: null, tombstoneUntilMs });
      if (outcome === "superseded") await this.#store.dropOlder(key, stamp);
      return outcome;
    } finally {
      this.#gate.leave(place);
    }
  }

  /** Null = the completion is told later. */
  #begin(put: OwnPut, place: number, context: MutationContext, completion: Completion<PutOutcome>): PutOutcome | null {
    if (this.#gate.tryEnter(place)) return this.#linkedPut(put, place, context, completion).begin();
    void this.#beginLater(put, place, context, completion);
    return null;
  }

  async #beginLater(
    put: OwnPut,
    place: number,
    context: MutationContext,
    completion: Completion<PutOutcome>,
  ): Promise<void> {
    await this.#gate.enter(place);
    try {
      const outcome = this.#linkedPut(put, place, context, completion).begin();
      if (outcome !== null) completion.done(outcome);
    } catch (error) {
      completion.failed(error);
    }
  }

  #linkedPut(put: OwnPut, place: number, context: MutationContext, completion: Completion<PutOutcome>): LinkedPut {
    return new LinkedPut(this.#store, this.#upstream, this.#gate, put, place, context, completion);
  }

  /** What depends on the stored entry is stamped and done while nothing else is under way: see `KeyGate`. */
  #alone<T, R>(
    key: Key,
    work: (stamp: Stamp) => Awaitable<T>,
    record: (outcome: T, stamp: Stamp) => Promise<R>,
  ): Promise<R> {
    let stamp: Stamp;
    return this.#gate.alone(
      key,
      () => {
        stamp = this.stamp();
        return work(stamp);
      },
      (outcome) => record(outcome, stamp),
    );
  }

  #ownPut(key: Key, { source, start, end, attributes }: NewValue, ttlMs: number, context: MutationContext): OwnPut {
    this.engine.requireReachable?.(key);
    // Before it is done: the message that follows must not come first, whichever thread it reaches.
    if (context.isReplicated) this.#recentPuts.note(key, this.nowMs());
    // The request's buffers are somebody else's when this call has returned.
    const bytes = Buffer.allocUnsafe(end - start);
    source.copy(bytes, 0, start, end);
    return {
      key: nameOf(key),
      value: valueWith(bytes, attributes),
      expiresAtMs: this.expiryOf(ttlMs),
    };
  }

  async #putIf(put: OwnPut, condition: Condition, context: MutationContext): Promise<PutOutcome> {
    const { key: name } = put;
    const key = keyOf(name);
    if ((await this.#fetch(key, name, context)) === true && condition.kind === "absent") return "condition-failed";
    return this.#alone<PutOutcome, PutOutcome>(
      key,
      (stamp) => this.#store.put(put, stamp, condition),
      async (outcome, stamp) => {
        if (outcome === "stored") await this.#recordOrDrop(key, stamp, () => this.#recordPut(put, stamp, context));
        return outcome;
      },
    );
  }

  #recordPut({ key: name, value, expiresAtMs }: OwnPut, stamp: Stamp, context: MutationContext): Promise<void> {
    const { isReplicated, traceContext } = context;
    const mutation = { kind: "put", key: name, value, expiresAtMs, stamp, touch: null } as const;
    return this.#upstream.record({ ...mutation, isReplicated, traceContext });
  }

  async #recordCount(key: Key, name: string, value: number, stamp: Stamp, context: MutationContext): Promise<void> {
    if (await this.#recordEntry(key, name, context)) return;
    // It has expired or was evicted since: the backend is to have what was counted all the same.
    const counted = valueWith(Buffer.from(String(value)), JSON_ATTRIBUTES);
    await this.#recordPut({ key: name, value: counted, expiresAtMs: this.nowMs() }, stamp, context);
  }

  /** Records an entry as it stands now: what a counter has left. False = it is gone, nothing was recorded. */
  async #recordEntry(key: Key, name: string, context: MutationContext): Promise<boolean> {
    const entry = await this.#capture(key);
    if (entry === null) return false;
    const { value, expiresAtMs, stamp } = entry;
    await this.#recordOrDrop(key, stamp, () =>
      this.#upstream.record({ kind: "put", key: name, value, expiresAtMs, stamp, touch: null, ...context }),
    );
    return true;
  }

  async #recordOrDrop(key: Key, stamp: Stamp, record: () => Promise<void>): Promise<void> {
    try {
      await record();
    } catch (error) {
      if (!isKept(error)) await this.#store.takeBack(key, stamp);
      throw error;
    }
  }

  async #capture(key: Key): Promise<CapturedEntry | null> {
    const capture = new EntryCapture();
    return (await this.engine.get(key, capture)) ? capture.entry() : null;
  }

  /**
   * What depends on the stored entry needs it here, not in the backend alone. Gives whether there is one; null = there is
   * no backend to ask. Throws `UpstreamError` where the backend can't say.
   */
  async #fetch(key: Key, name: string, writing: MutationContext | null = null): Promise<boolean | null> {
    if (!this.loads) return null;
    if (await this.engine.get(key, IGNORED)) return true;
    await this.#gate.recorded(key);
    const loaded = await this.#upstream.load(name);
    if (loaded.kind === "found" && loaded.isStale) {
      const message = "the backend fails, and what it had before is too old to build on; try again";
      throw new UpstreamError("ERR_BACKEND_UNAVAILABLE", message, STALE_RETRY_MS, false);
    }
    if (loaded.kind === "absent" && loaded.refusal !== undefined && writing?.isReplicated === false) {
      throw refusedKey(loaded.refusal);
    }
    return loaded.kind === "found";
  }

  async #recordInvalidation(pattern: KeyPattern | null, stamp: Stamp, context: MutationContext): Promise<void> {
    if (this.#upstream.deletes && !context.isReplicated) await this.#recordDeletes(pattern, stamp, context);
    await this.#upstream.record({ kind: "invalidate", pattern: pattern?.text ?? null, stamp, ...context });
  }

  /** The backend is told key by key: of the keys that this cache has. */
  async #recordDeletes(pattern: KeyPattern | null, stamp: Stamp, context: MutationContext): Promise<void> {
    let cursor: string | null = null;
    do {
      const page = await this.keys({ pattern, cursor, limit: DELETES_TOGETHER });
      const deletes = page.keys.map((key) => this.#upstream.record({ kind: "delete", key, stamp, ...context }));
      await Promise.all(deletes.map((recorded) => recorded.catch(unlessStrange)));
      cursor = page.cursor;
    } while (cursor !== null);
  }

  #tombstoneUntilMs(): number {
    const { tombstoneMs } = this.#upstream;
    return tombstoneMs === 0 ? NEVER : this.nowMs() + tombstoneMs;
  }

  #getAndRefresh(key: Key, sink: EntrySink): Awaitable<boolean> {
    const watching = this.readsAtOnce ? this.#refreshing : new RefreshSink(this.#upstream.refreshAheadMs, this.nowMs);
    watching.watch(sink);
    const refresh = (found: boolean): boolean => {
      if (found && watching.isDue) this.#upstream.refresh(nameOf(key));
      return found;
    };
    const found = this.engine.get(key, watching);
    return found instanceof Promise ? found.then(refresh) : refresh(found);
  }
}

function deliver(loaded: Extract<Loaded, { kind: "found" }>, sink: LoadSink): void {
  const { value, expiresAtMs, stamp } = loaded;
  const { bytes } = value;
  sink.markLoaded(loaded);
  const valueLength = bytes.length;
  const entry: EntryInfo = { valueLength, attributes: value, expiresAtMs, revision: stamp.version, stamp };
  if (sink.begin(entry)) bytes.copy(sink.target, sink.offset);
}

/** What the backend can't have need not be deleted there. */
function unlessStrange(error: unknown): void {
  if (!(error instanceof UpstreamError) || error.code !== "ERR_BACKEND_KEY") throw error;
}

function asFetched(isThere: boolean | null): Condition | null {
  return isThere === null ? null : { kind: isThere ? "present" : "absent" };
}
