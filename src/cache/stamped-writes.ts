/** Writes to the engine with stamps that are given, below the pattern deletes that are newer. */

import type { Condition, Engine, PutOutcome, PutRequest } from "../engine/engine.ts";
import { NO_TOMBSTONE } from "../model/entry.ts";
import { copyKey, type Key, keyOf, MAX_KEY_BYTES } from "../model/key.ts";
import { FILL_NODE_ID, type Stamp } from "../model/stamp.ts";
import type { Awaitable } from "../runtime/awaitable.ts";
import type { RecentInvalidations } from "./recent-invalidations.ts";

export class StampedWrites {
  /** The key of a call of the engine that is over when it returns. */
  readonly #scratch = { bytes: Buffer.allocUnsafeSlow(MAX_KEY_BYTES), length: 0 };

  constructor(
    private readonly engine: Engine,
    /** Null = nothing comes late to this node, so nothing has to be kept out. */
    private readonly invalidations: RecentInvalidations | null,
    private readonly nextStamp: () => Stamp,
  ) {}

  /** Puts, unless a pattern delete or a clear is newer than the stamp. Makes room first where the value is large. */
  put(request: PutRequest): Awaitable<PutOutcome> {
    const making = this.engine.makeRoom?.(request.end - request.start) ?? null;
    if (making !== null) {
      // The bytes of the value stay as they are until the put is answered; those of the key may not.
      const own = { ...request, key: copyKey(request.key) };
      return making.then(() => this.put(own));
    }
    const { invalidations } = this;
    if (invalidations === null) return this.engine.put(request);
    const { key, stamp } = request;
    if (invalidations.covering(key, stamp) !== null) return "superseded";
    const outcome = this.engine.put(request);
    if (outcome instanceof Promise) return outcome.then((late) => this.#unlessInvalidated(key, stamp, late));
    return this.#unlessInvalidated(key, stamp, outcome);
  }

  /** The key for a call of `put` that follows at once. */
  keyFor(name: string): Key {
    if (!this.engine.answersAtOnce) return keyOf(name);
    this.#scratch.length = this.#scratch.bytes.utf8Write(name, 0);
    return this.#scratch;
  }

  /** Whether a pattern delete or a clear that is newer came meanwhile; what it covers is removed then. */
  async isInvalidated(key: Key, stamp: Stamp): Promise<boolean> {
    const newer = this.invalidations?.covering(key, stamp) ?? null;
    if (newer === null) return false;
    await this.#drop(key, newer);
    return true;
  }

  /**
   * Removes what is older than a committed mutation that the engine did not take: the engine may have refused it for
   * another key that it forgot, and then what it has of this one is older.
   */
  async dropOlder(key: Key, { version }: Stamp): Promise<void> {
    await this.#drop(key, { version, nodeId: FILL_NODE_ID });
  }

  /** Removes the entry that was stored with this stamp, unless something else has its place by now. */
  async takeBack(key: Key, { version }: Stamp): Promise<void> {
    const condition: Condition = { kind: "revision-in", revisions: [version] };
    await this.engine.delete({ key, stamp: this.nextStamp(), condition, tombstoneUntilMs: NO_TOMBSTONE });
  }

  /** Removes what is not newer than the stamp. */
  async #drop(key: Key, stamp: Stamp): Promise<void> {
    await this.engine.delete({ key, stamp, condition: null, tombstoneUntilMs: NO_TOMBSTONE });
  }

  #unlessInvalidated(key: Key, stamp: Stamp, outcome: PutOutcome): Awaitable<PutOutcome> {
    if (outcome !== "stored" || (this.invalidations?.covering(key, stamp) ?? null) === null) return outcome;
    // The key may be the scratch one.
    return this.isInvalidated(copyKey(key), stamp).then((isGone) => (isGone ? "superseded" : outcome));
  }
}
