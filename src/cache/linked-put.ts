import type { PutOutcome } from "../engine/engine.ts";
import type { Completion } from "../model/completion.ts";
import type { CacheValue } from "../model/entry.ts";
import { keyOf } from "../model/key.ts";
import type { PutMutation } from "../model/mutation.ts";
import type { Stamp } from "../model/stamp.ts";
import type { Awaitable } from "../runtime/awaitable.ts";
import { MOST_STAMPS, type MutationContext } from "./cache.ts";
import type { KeyGate } from "./key-gate.ts";
import type { LinkedStore, OwnPut } from "./linked-store.ts";
import { type Upstream, UpstreamError } from "./upstream.ts";

/**
 * A put without a condition: recorded first and stored then, so that nothing is in the cache that was refused. It is the
 * mutation that is recorded, and who waits for that, in one object: this is the path of nearly all writes.
 *
 * It is stored with the stamp that it was recorded with. Where something newer is stored by then, the put has happened
 * before that and is done. Only a put of which nothing was recorded takes another stamp.
 */
export class LinkedPut implements PutMutation, Completion<void> {
  readonly kind = "put";
  readonly touch = null;
  readonly key: string;
  readonly value: CacheValue;
  readonly expiresAtMs: number;
  readonly stamp: Stamp;
  readonly isReplicated: boolean;
  readonly traceContext: string | undefined;
  readonly #store: LinkedStore;
  readonly #upstream: Upstream;
  readonly #gate: KeyGate;
  readonly #place: number;
  readonly #completion: Completion<PutOutcome>;
  readonly #stamps: number;

  /** `place`: of the gate, which has been entered; the put leaves it when it is over. */
  constructor(
    store: LinkedStore,
    upstream: Upstream,
    gate: KeyGate,
    { key, value, expiresAtMs }: OwnPut,
    place: number,
    { isReplicated, traceContext }: MutationContext,
    completion: Completion<PutOutcome>,
    stamps = 1,
  ) {
    this.key = key;
    this.value = value;
    this.expiresAtMs = expiresAtMs;
    this.stamp = store.nextStamp();
    this.isReplicated = isReplicated;
    this.traceContext = traceContext;
    this.#store = store;
    this.#upstream = upstream;
    this.#gate = gate;
    this.#place = place;
    this.#completion = completion;
    this.#stamps = stamps;
  }

  /** Null = the completion is told later. */
  begin(): PutOutcome | null {
    let outcome: Awaitable<PutOutcome>;
    try {
      if (!this.#upstream.recordLater(this, this)) return null;
      outcome = this.#store.put(this, this.stamp, null);
    } catch (error) {
      this.#gate.leave(this.#place);
      throw error;
    }
    if (outcome === "stored") {
      this.#gate.leave(this.#place);
      return outcome;
    }
    void this.#conclude(outcome, this.#stamps < MOST_STAMPS);
    return null;
  }

  done(): void {
    let outcome: Awaitable<PutOutcome>;
    try {
      outcome = this.#store.put(this, this.stamp, null);
    } catch (error) {
      this.#fails(error);
      return;
    }
    if (outcome === "stored") this.#stored(outcome);
    else void this.#conclude(outcome, false);
  }

  failed(error: unknown): void {
    void this.#fail(error);
  }

  async #fail(error: unknown): Promise<void> {
    let failure = error;
    try {
      // It is written later all the same: what the cache has is not to be served until then.
      if (isKept(error)) await this.#store.dropOlder(keyOf(this.key), this.stamp);
    } catch (dropError) {
      failure = dropError;
    }
    this.#fails(failure);
  }

  async #conclude(stored: Awaitable<PutOutcome>, mayRestamp: boolean): Promise<void> {
    let outcome: PutOutcome;
    try {
      outcome = await stored;
      // The entry is in the backend and not here: an older one must not stay.
      if (outcome !== "stored" && !(outcome === "superseded" && mayRestamp)) {
        await this.#store.dropOlder(keyOf(this.key), this.stamp);
      }
    } catch (error) {
      this.#fails(error);
      return;
    }
    if (outcome === "superseded" && mayRestamp) this.#tryAgain();
    else this.#stored(outcome);
  }

  /** With another stamp; it leaves the gate for this one. */
  #tryAgain(): void {
    const again = new LinkedPut(
      this.#store,
      this.#upstream,
      this.#gate,
      this,
      this.#place,
      this,
      this.#completion,
      this.#stamps + 1,
    );
    try {
      const outcome = again.begin();
      if (outcome !== null) this.#completion.done(outcome);
    } catch (error) {
      this.#completion.failed(error);
    }
  }

  #stored(outcome: PutOutcome): void {
    this.#gate.leave(this.#place);
    this.#completion.done(outcome);
  }

  #fails(error: unknown): void {
    this.#gate.leave(this.#place);
    this.#completion.failed(error);
  }
}

/** The mutation waits in the outbox, though the call failed. */
export function isKept(error: unknown): boolean {
  return error instanceof UpstreamError && error.isKept;
}
