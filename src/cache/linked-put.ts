import type { Awaitable, PutOutcome, Stamp } from "../engine/engine.ts";
import { type LateWriter, MOST_STAMPS, type MutationContext } from "./cache.ts";
import { keyOf } from "./filler.ts";
import type { LinkedStore, OwnPut } from "./linked-store.ts";
import type { CacheValue, PutMutation } from "./mutation.ts";
import { type RecordListener, type Upstream, UpstreamError } from "./upstream.ts";

/**
 * A put without a condition: recorded first and stored then, so that nothing is in the cache that was refused. It is the
 * mutation that is recorded, and who waits for that, in one object: this is the path of nearly all writes.
 *
 * It is stored with the stamp that it was recorded with. Where something newer is stored by then, the put has happened
 * before that and is done. Only a put of which nothing was recorded takes another stamp.
 */
export class LinkedPut implements PutMutation, RecordListener {
  readonly kind = "put";
  readonly isTouch = false;
  readonly key: string;
  readonly value: CacheValue;
  readonly expiresAtMs: number;
  readonly stamp: Stamp;
  readonly isReplicated: boolean;
  readonly traceparent: string | undefined;
  readonly #store: LinkedStore;
  readonly #upstream: Upstream;
  readonly #writer: LateWriter;
  readonly #stamps: number;

  constructor(
    store: LinkedStore,
    upstream: Upstream,
    { key, value, expiresAtMs }: OwnPut,
    { isReplicated, traceparent }: MutationContext,
    writer: LateWriter,
    stamps = 1,
  ) {
    this.key = key;
    this.value = value;
    this.expiresAtMs = expiresAtMs;
    this.stamp = store.nextStamp();
    this.isReplicated = isReplicated;
    this.traceparent = traceparent;
    this.#store = store;
    this.#upstream = upstream;
    this.#writer = writer;
    this.#stamps = stamps;
  }

  /** Null = the writer is told later. */
  begin(): PutOutcome | null {
    if (!this.#upstream.recordLater(this, this)) return null;
    const outcome = this.#store.put(this, this.stamp, null);
    if (outcome === "stored") return outcome;
    void this.#conclude(outcome, this.#stamps < MOST_STAMPS);
    return null;
  }

  recorded(): void {
    let outcome: Awaitable<PutOutcome>;
    try {
      outcome = this.#store.put(this, this.stamp, null);
    } catch (error) {
      this.#writer.failed(error);
      return;
    }
    if (outcome === "stored") this.#writer.stored(outcome);
    else void this.#conclude(outcome, false);
  }

  refused(error: unknown): void {
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
    this.#writer.failed(failure);
  }

  async #conclude(stored: Awaitable<PutOutcome>, mayRestamp: boolean): Promise<void> {
    let outcome: PutOutcome | null;
    try {
      outcome = await stored;
      if (outcome === "superseded" && mayRestamp) outcome = this.#again();
      // The entry is in the backend and not here: an older one must not stay.
      else if (outcome !== "stored") await this.#store.dropOlder(keyOf(this.key), this.stamp);
    } catch (error) {
      this.#writer.failed(error);
      return;
    }
    if (outcome !== null) this.#writer.stored(outcome);
  }

  #again(): PutOutcome | null {
    return new LinkedPut(this.#store, this.#upstream, this, this, this.#writer, this.#stamps + 1).begin();
  }
}

/** The mutation waits in the outbox, though the call failed. */
export function isKept(error: unknown): boolean {
  return error instanceof UpstreamError && error.isKept;
}
