/**
 * Keeps calls that depend on the stored entry (conditions, counters, touches) apart from puts and deletes of the same key
 * that have their stamp and are not applied yet, across all threads of a node.
 *
 * A put is stamped, committed and then applied. A call that read the entry in between, and is stamped after the put, would
 * supersede it without having seen it: an acknowledged write would be gone. So whoever depends on the entry waits until all
 * that was stamped before is applied, and whatever is to be stamped meanwhile waits for it.
 *
 * Such a call is applied before it is recorded. Until then its outcome is in the cache alone: if the entry expires or is
 * evicted meanwhile, what is behind the cache must not be asked for the key.
 *
 * Keys share places by their hash. Two keys in one place wait for each other now and then, and nothing worse.
 */
import type { Key } from "../model/key.ts";

const PLACES = 4096;
/** Of a place: somebody depends on an entry there. The other bits count what is stamped and not applied. */
const CLOSED = 1 << 30;

/** Of the buffer, for each place: what is stamped and not applied; what is applied and not recorded. */
const PARTS = 2;

const FNV_OFFSET = 0x811c9dc5;
const FNV_PRIME = 0x01000193;

export class KeyGate {
  readonly #places: Int32Array;

  /** @param letOthersRun resolves when other work of this thread has had its turn */
  static create(letOthersRun = nextTurn): KeyGate {
    return new KeyGate(new SharedArrayBuffer(PARTS * PLACES * Int32Array.BYTES_PER_ELEMENT), letOthersRun);
  }

  /** Uses the one that another thread made. */
  static attach(buffer: SharedArrayBuffer): KeyGate {
    return new KeyGate(buffer, nextTurn);
  }

  private constructor(
    /** Hand this to other threads, for `attach`. */
    readonly buffer: SharedArrayBuffer,
    private readonly letOthersRun: () => Promise<void>,
  ) {
    this.#places = new Int32Array(buffer);
  }

  /** FNV-1a: http://www.isthe.com/chongo/tech/comp/fnv/ */
  placeOf(key: Key): number {
    let hash = FNV_OFFSET;
    for (let at = 0; at < key.length; at++) hash = Math.imul(hash ^ (key.bytes[at] ?? 0), FNV_PRIME);
    return (hash ^ (hash >>> 16)) & (PLACES - 1);
  }

  /** To be called before a put or delete takes its stamp. False = not now: see `enter`. */
  tryEnter(place: number): boolean {
    if ((Atomics.add(this.#places, place, 1) & CLOSED) === 0) return true;
    Atomics.sub(this.#places, place, 1);
    return false;
  }

  /** Resolves when a put or delete may take its stamp. */
  async enter(place: number): Promise<void> {
    while (!this.tryEnter(place)) await this.letOthersRun();
  }

  /** The put or delete is applied, or has failed. */
  leave(place: number): void {
    Atomics.sub(this.#places, place, 1);
  }

  /**
   * Runs what depends on the stored entry, its stamp included, while nothing else of its place is under way; then `record`
   * with its outcome, while nobody asks what is behind the cache.
   */
  async alone<T, R>(key: Key, work: () => T | Promise<T>, record: (outcome: T) => Promise<R>): Promise<R> {
    const place = this.placeOf(key);
    while ((Atomics.or(this.#places, place, CLOSED) & CLOSED) !== 0) await this.letOthersRun();
    Atomics.add(this.#places, PLACES + place, 1);
    try {
      return await record(await this.#whenLeft(place, work));
    } finally {
      Atomics.sub(this.#places, PLACES + place, 1);
    }
  }

  /** Whether all that was applied to an entry is recorded, too: what is behind the cache knows of it then. */
  isRecorded(key: Key): boolean {
    return Atomics.load(this.#places, PLACES + this.placeOf(key)) === 0;
  }

  /** Resolves when that is so. */
  async recorded(key: Key): Promise<void> {
    while (!this.isRecorded(key)) await this.letOthersRun();
  }

  async #whenLeft<T>(place: number, work: () => T | Promise<T>): Promise<T> {
    try {
      while (Atomics.load(this.#places, place) !== CLOSED) await this.letOthersRun();
      return await work();
    } finally {
      Atomics.and(this.#places, place, ~CLOSED);
    }
  }
}

function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
