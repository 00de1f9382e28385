/**
 * Which keys peers of the original's kind have put in the last seconds, seen by all threads of a node.
 *
 * Such a peer sends a put and right after it a message that drops the same entry. A small table of key hashes and times
 * tells the two apart; where two keys share a place, the older put is forgotten, and its entry is dropped: a value may be
 * missed, none is kept that should have gone.
 */
import type { Key } from "../model/key.ts";

const PLACES = 8192;

export class RecentPuts {
  /** Per place: the key's hash, and when it was put, in ms since the Unix epoch. */
  readonly #places: Float64Array;

  static create(): RecentPuts {
    return new RecentPuts(new SharedArrayBuffer(PLACES * 2 * Float64Array.BYTES_PER_ELEMENT));
  }

  /** Uses those that another thread made. */
  static attach(buffer: SharedArrayBuffer): RecentPuts {
    return new RecentPuts(buffer);
  }

  private constructor(
    /** Hand this to other threads, for `attach`. */
    readonly buffer: SharedArrayBuffer,
  ) {
    this.#places = new Float64Array(buffer);
  }

  note(key: Key, nowMs: number): void {
    const hash = hashOf(key);
    const place = 2 * (hash % PLACES);
    this.#places[place] = hash;
    this.#places[place + 1] = nowMs;
  }

  /** Whether the key was put in the `withinMs` before now. */
  has(key: Key, nowMs: number, withinMs: number): boolean {
    const hash = hashOf(key);
    const place = 2 * (hash % PLACES);
    const agoMs = nowMs - (this.#places[place + 1] ?? 0);
    return this.#places[place] === hash && agoMs >= 0 && agoMs < withinMs;
  }
}

function hashOf(key: Key): number {
  return Number(Bun.hash.wyhash(key.bytes.subarray(0, key.length)) & 0x1f_ffff_ffff_ffffn);
}
