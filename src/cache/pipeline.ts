/**
 * The one way of every mutation of a client: stamp, commit, apply. There are two orders, and each is written once, here.
 *
 * What needs nothing of the stored entry is committed first and applied then, with the stamp that it was committed with:
 * nothing is in the cache that was refused, and where something newer is stored by then, it has happened before that.
 *
 * What depends on the stored entry (a condition, a counter, a touch) is applied first, while nothing else of its key is
 * under way, and then committed; where that fails, the entry is taken back, and the next read loads what is true.
 *
 * Another thread's mutation may take a newer stamp and still come first. A client must not be told that its own is done
 * when nothing was: of a mutation that is superseded and committed nowhere, the two ran at the same time, and either may
 * be the later one. So it is stamped anew, in one loop, here.
 */

import type { Engine, ScanPage, ScanRequest } from "../engine/engine.ts";
import type { Completion } from "../model/completion.ts";
import { type Key, keyOf } from "../model/key.ts";
import type { KeyPattern } from "../model/matcher.ts";
import { hasValue, type Mutation } from "../model/mutation.ts";
import type { Stamp } from "../model/stamp.ts";
import type { Awaitable } from "../runtime/awaitable.ts";
import { type CommitLog, committed, type LinkTraits } from "./commit-log.ts";
import type { KeyGate } from "./key-gate.ts";
import type { Reads } from "./reads.ts";
import type { RecentInvalidations } from "./recent-invalidations.ts";
import type { StampedWrites } from "./stamped-writes.ts";
import { UpstreamError } from "./upstream-error.ts";

/** Stamps that an uncommitted mutation takes before it gives way to newer ones; reached only where a stamp from ahead is stored. */
export const MOST_STAMPS = 100;

/** Keys whose deletes are committed together, when a pattern deletes from the backend as well. */
const DELETES_TOGETHER = 500;

/** Where a mutation comes from. */
export interface MutationContext {
  /** A peer of the original's kind sent it on: it goes neither to the backend nor to peers. */
  readonly isReplicated: boolean;
  /** W3C trace context of the request. */
  readonly traceContext?: string | undefined;
}

/** A client that says nothing else. */
export const FROM_CLIENT: MutationContext = { isReplicated: false };

/** What mutations work with where something is behind the cache. */
export interface CommitParts {
  readonly engine: Engine;
  readonly writes: StampedWrites;
  readonly traits: LinkTraits;
  readonly commitLog: CommitLog;
  readonly gate: KeyGate;
  readonly invalidations: RecentInvalidations;
  readonly nextStamp: () => Stamp;
}

/** A mutation that is committed, and then applied. One object is all of that: nearly all writes come this way. */
export abstract class CommitFirst<T> implements Completion<void> {
  stamp: Stamp;
  readonly isReplicated: boolean;
  readonly traceContext: string | undefined;

  constructor(
    protected readonly parts: CommitParts,
    readonly key: string,
    /** Of the gate. */
    private readonly place: number,
    { isReplicated, traceContext }: MutationContext,
    private readonly completion: Completion<T>,
  ) {
    this.stamp = NO_STAMP;
    this.isReplicated = isReplicated;
    this.traceContext = traceContext;
  }

  protected abstract readonly mutation: Mutation;

  protected abstract apply(): Awaitable<T>;

  /** Null = the completion is told later. */
  begin(): T | null {
    if (this.parts.gate.tryEnter(this.place)) return this.#begin();
    void this.#beginLater();
    return null;
  }

  /** It is committed. */
  done(): void {
    let outcome: Awaitable<T>;
    try {
      outcome = this.apply();
    } catch (error) {
      this.#fail(error);
      return;
    }
    if (isApplied(outcome)) this.#finish(outcome);
    else void this.#conclude(outcome);
  }

  /** It is not committed. */
  failed(error: unknown): void {
    void this.#refused(error);
  }

  #begin(): T | null {
    let outcome: Awaitable<T | null>;
    try {
      outcome = this.#attempt();
    } catch (error) {
      this.#leave();
      throw error;
    }
    if (outcome === null) return null;
    if (isApplied(outcome)) {
      this.#leave();
      return outcome;
    }
    void this.#conclude(stampedAnew(outcome, () => this.#attempt()));
    return null;
  }

  async #beginLater(): Promise<void> {
    await this.parts.gate.enter(this.place);
    try {
      const outcome = this.#begin();
      if (outcome !== null) this.completion.done(outcome);
    } catch (error) {
      this.completion.failed(error);
    }
  }

  /** Null = it waits for its commit, and won't be stamped anew. */
  #attempt(): Awaitable<T | null> {
    this.stamp = this.parts.nextStamp();
    return this.parts.commitLog.commit(this.mutation, this) ? this.apply() : null;
  }

  async #conclude(applied: Awaitable<T | null>): Promise<void> {
    let outcome: T | null;
    try {
      outcome = await applied;
      if (outcome === null) return;
      // It has reached the backend and the peers, and not the cache: an older entry must not stay.
      if (!isApplied(outcome)) await this.#dropOlder();
    } catch (error) {
      this.#fail(error);
      return;
    }
    this.#finish(outcome);
  }

  async #refused(error: unknown): Promise<void> {
    let failure = error;
    try {
      // It is written later all the same: what the cache has is not to be served until then.
      if (isKept(error)) await this.#dropOlder();
    } catch (dropError) {
      failure = dropError;
    }
    this.#fail(failure);
  }

  #dropOlder(): Promise<void> {
    return this.parts.writes.dropOlder(keyOf(this.key), this.stamp);
  }

  #finish(outcome: T): void {
    this.#leave();
    this.completion.done(outcome);
  }

  #fail(error: unknown): void {
    this.#leave();
    this.completion.failed(error);
  }

  #leave(): void {
    this.parts.gate.leave(this.place);
  }
}

/** As `CommitFirst`, of all keys that match; null = of all. No other mutation has to be kept apart from it. */
export async function invalidate(
  pattern: KeyPattern | null,
  context: MutationContext,
  { engine, traits, commitLog, nextStamp, invalidations }: CommitParts,
  keys: (request: ScanRequest) => Awaitable<ScanPage>,
): Promise<number> {
  engine.requireReachable?.(null);
  const stamp = nextStamp();
  if (traits.deletes && !context.isReplicated) {
    // The backend is told key by key: of the keys that this cache has.
    let cursor: string | null = null;
    do {
      const page: ScanPage = await keys({ pattern, cursor, limit: DELETES_TOGETHER });
      const deletes = page.keys.map((key) => committed(commitLog, { kind: "delete", key, stamp, ...context }));
      await Promise.all(deletes.map((one) => one.catch(unlessStrange)));
      cursor = page.cursor;
    } while (cursor !== null);
  }
  await committed(commitLog, { kind: "invalidate", pattern: pattern?.text ?? null, stamp, ...context });
  // Before the walk begins: what is put behind the walk meets the note.
  invalidations.add(pattern?.text ?? null, stamp);
  return pattern === null ? engine.clear(stamp) : engine.deleteMatching(pattern, stamp);
}

/** A mutation that is applied, and then committed. */
export interface ApplyFirst<T> {
  /** It stays as it is until the mutation is over. */
  readonly key: Key;
  /** A key that the backend can't have is refused. */
  readonly refusesStrangeKeys: boolean;
  readonly superseded: T;
  /** `isThere`: whether the cache or the backend had an entry a moment ago; null = there is no backend to ask. */
  apply(stamp: Stamp, isThere: boolean | null): Awaitable<T>;
  /** What of the outcome is to be committed; null = nothing. */
  mutationOf(outcome: T, stamp: Stamp): Awaitable<Mutation | null>;
}

/** With nothing behind the cache there is nothing to commit, and no other order to keep apart from. */
export function applyAlone<T>(change: ApplyFirst<T>, nextStamp: () => Stamp): Awaitable<T> {
  const attempt = () => change.apply(nextStamp(), null);
  return stampedAnew(attempt(), attempt);
}

export function applyFirst<T>(change: ApplyFirst<T>, parts: CommitParts, reads: Reads): Awaitable<T> {
  const attempt = () => applyAndCommit(change, parts, reads);
  return stampedAnew(attempt(), attempt);
}

async function applyAndCommit<T>(change: ApplyFirst<T>, parts: CommitParts, reads: Reads): Promise<T> {
  const { key } = change;
  const { gate, nextStamp, writes, commitLog } = parts;
  const isThere = await reads.fetch(key, change.refusesStrangeKeys);
  let stamp = NO_STAMP;
  const apply = () => {
    stamp = nextStamp();
    return change.apply(stamp, isThere);
  };
  return gate.alone(key, apply, async (outcome) => {
    const mutation = await change.mutationOf(outcome, stamp);
    if (mutation === null) return outcome;
    if (hasValue(mutation) && (await writes.isInvalidated(key, mutation.stamp))) return change.superseded;
    try {
      await committed(commitLog, mutation);
    } catch (error) {
      // A touch leaves nothing that the backend does not have, and what a delete removed is loaded again.
      if (mutation.kind === "put" && !isKept(error)) await writes.takeBack(key, mutation.stamp);
      throw error;
    }
    return outcome;
  });
}

/** Attempts again, each time with another stamp, while something newer comes first. To be used of what is committed nowhere. */
export function stampedAnew<T>(first: Awaitable<T>, attempt: () => Awaitable<T>, stamps = 1): Awaitable<T> {
  let outcome = first;
  for (let count = stamps; ; count++) {
    if (outcome instanceof Promise) {
      return outcome.then((late) => (isSuperseded(late) ? stampedAnew(late, attempt, count) : late));
    }
    if (!isSuperseded(outcome) || count === MOST_STAMPS) return outcome;
    outcome = attempt();
  }
}

const NO_STAMP = { version: 0, nodeId: 0 } as Stamp;

function isApplied<T>(outcome: Awaitable<T>): outcome is T {
  return !(outcome instanceof Promise) && outcome !== "superseded" && outcome !== "too-large";
}

function isSuperseded(outcome: unknown): boolean {
  if (typeof outcome === "string") return outcome === "superseded";
  return typeof outcome === "object" && outcome !== null && "kind" in outcome && outcome.kind === "superseded";
}

/** What the backend can't have need not be deleted there. */
function unlessStrange(error: unknown): void {
  if (!(error instanceof UpstreamError) || error.code !== "ERR_BACKEND_KEY") throw error;
}

/** The mutation waits in the outbox, though the call failed. */
function isKept(error: unknown): boolean {
  return error instanceof UpstreamError && error.isKept;
}
