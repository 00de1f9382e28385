/** The engine of a cache that has something behind it: mutations with their stamps, and the pattern deletes that are newer. */

import type { Condition, Engine, PutOutcome } from "../engine/engine.ts";
import { NEVER } from "../model/entry.ts";
import { type Key, keyOf, MAX_KEY_BYTES } from "../model/key.ts";
import type { PutMutation } from "../model/mutation.ts";
import { FILL_NODE_ID, type Stamp } from "../model/stamp.ts";
import type { Awaitable } from "../runtime/awaitable.ts";
import type { RecentInvalidations } from "./recent-invalidations.ts";

/** What is to be stored, with bytes of its own. */
export type OwnPut = Pick<PutMutation, "key" | "value" | "expiresAtMs">;

export class LinkedStore {
  /** The key of a call of the engine that is over when it returns. */
  readonly #scratch = { bytes: Buffer.allocUnsafeSlow(MAX_KEY_BYTES), length: 0 };

  constructor(
    private readonly engine: Engine,
    private readonly invalidations: RecentInvalidations,
    readonly nextStamp: () => Stamp,
  ) {}

  /** Puts, unless a pattern delete or a clear is newer than the stamp. */
  put(put: OwnPut, stamp: Stamp, condition: Condition | null): Awaitable<PutOutcome> {
    const making = this.engine.makeRoom?.(put.value.bytes.length) ?? null;
    if (making !== null) return making.then(() => this.put(put, stamp, condition));
    const { key: name, value, expiresAtMs } = put;
    const key = this.#keyFor(name);
    if (this.invalidations.covering(key, stamp) !== null) return "superseded";
    const { bytes } = value;
    const range = { source: bytes, start: 0, end: bytes.length };
    const request = { key, ...range, attributes: value, expiresAtMs, stamp, condition };
    const outcome = this.engine.put(request);
    if (outcome instanceof Promise) return outcome.then((late) => this.#unlessInvalidated(key, stamp, late));
    return this.#unlessInvalidated(key, stamp, outcome);
  }

  /** Whether a pattern delete or a clear that is newer came meanwhile; what it is about is removed then. */
  async isInvalidated(key: Key, stamp: Stamp): Promise<boolean> {
    const newer = this.invalidations.covering(key, stamp);
    if (newer === null) return false;
    await this.drop(key, newer);
    return true;
  }

  /**
   * Removes what is older than a recorded mutation that the engine did not take: it may have refused it for another key
   * that it forgot, and then what it has of this one is older.
   */
  async dropOlder(key: Key, { version }: Stamp): Promise<void> {
    await this.drop(key, { version, nodeId: FILL_NODE_ID });
  }

  /** Removes what is not newer than the stamp. */
  async drop(key: Key, stamp: Stamp): Promise<void> {
    await this.engine.delete({ key, stamp, condition: null, tombstoneUntilMs: NEVER });
  }

  /** Removes the entry that was stored with this stamp, unless something else has its place by now. */
  async takeBack(key: Key, { version }: Stamp): Promise<void> {
    const condition: Condition = { kind: "revision-in", revisions: [version] };
    await this.engine.delete({ key, stamp: this.nextStamp(), condition, tombstoneUntilMs: NEVER });
  }

  #keyFor(name: string): Key {
    if (!this.engine.answersAtOnce) return keyOf(name);
    this.#scratch.length = this.#scratch.bytes.utf8Write(name, 0);
    return this.#scratch;
  }

  #unlessInvalidated(key: Key, stamp: Stamp, outcome: PutOutcome): Awaitable<PutOutcome> {
    if (outcome !== "stored" || this.invalidations.covering(key, stamp) === null) return outcome;
    return this.isInvalidated(key, stamp).then((isGone) => (isGone ? "superseded" : outcome));
  }
}
