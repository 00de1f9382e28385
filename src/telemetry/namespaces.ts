/**
 * Counts reads and writes by namespace: the part of a key before its first colon.
 *
 * The first `NAMESPACES` namespaces of a node get their own counts; all later ones are counted together, so that
 * arbitrary keys cannot grow the metrics without bound. The place of a name is assigned once for all threads; each
 * thread counts in its own region with plain arithmetic.
 */

import { lock, unlock } from "../runtime/shared-lock.ts";

/** The form of the engine's keys. */
interface KeyBytes {
  readonly bytes: Buffer;
  readonly length: number;
}

export interface NamespaceCounts {
  readonly name: string;
  readonly hits: number;
  readonly misses: number;
  readonly sets: number;
  readonly deletes: number;
}

export enum KeyUse {
  Hit,
  Miss,
  Set,
  Delete,
}

/** Namespaces with their own counts. */
export const NAMESPACES = 100;
/** Longer names are counted with the others. */
export const MAX_NAME_BYTES = 64;
/** The name of all other namespaces. No namespace can have this name, because a name ends at the colon. */
export const OTHERS = ":other";

const COLON = 0x3a;
const USES = 4;
const OTHER_PLACE = NAMESPACES;
const PLACES = NAMESPACES + 1;

// The names, in bytes: the lock and the number of names as Int32, then for each a length byte and the name.
const LOCK = 0;
const COUNT = 1;
const NAMES_START = 8;
const NAME_BYTES = 1 + MAX_NAME_BYTES;

/** Structured-cloneable. */
export interface NamespacesHandle {
  readonly threads: number;
  readonly names: SharedArrayBuffer;
  readonly numbers: SharedArrayBuffer;
}

export function makeNamespaces(threads: number): NamespacesHandle {
  return {
    threads,
    names: new SharedArrayBuffer(NAMES_START + Math.ceil((NAMESPACES * NAME_BYTES) / 8) * 8),
    numbers: new SharedArrayBuffer(threads * PLACES * USES * Float64Array.BYTES_PER_ELEMENT),
  };
}

/** The counts of one thread. */
export class Namespaces {
  readonly #names: SharedNames;
  readonly #numbers: Float64Array;
  /** The namespace of the last key: consecutive keys often share it. */
  readonly #last = Buffer.alloc(MAX_NAME_BYTES);
  #lastLength = -1;
  #lastPlace = OTHER_PLACE;

  constructor(handle: NamespacesHandle, thread: number) {
    this.#names = new SharedNames(handle.names);
    this.#numbers = new Float64Array(handle.numbers, thread * PLACES * USES * 8, PLACES * USES);
  }

  count(key: KeyBytes, use: KeyUse): void {
    const at = this.#placeOf(key) * USES + use;
    this.#numbers[at] = (this.#numbers[at] ?? 0) + 1;
  }

  #placeOf({ bytes, length }: KeyBytes): number {
    const most = length < MAX_NAME_BYTES ? length : MAX_NAME_BYTES;
    const last = this.#last;
    let isLast = true;
    let end = 0;
    for (; end < most; end++) {
      const byte = bytes[end];
      if (byte === COLON) break;
      if (byte !== last[end]) isLast = false;
    }
    // A key without a colon has the empty namespace.
    const nameLength = end < length && bytes[end] === COLON ? end : end < length ? -1 : 0;
    if (nameLength === this.#lastLength && (isLast || nameLength <= 0)) return this.#lastPlace;
    this.#lastLength = nameLength;
    if (nameLength > 0) bytes.copy(last, 0, 0, nameLength);
    this.#lastPlace = this.#names.placeOf(nameLength < 0 ? null : bytes.latin1Slice(0, nameLength));
    return this.#lastPlace;
  }
}

/** The counts of all threads together, in the order in which the names were first seen. */
export function namespaceCounts(handle: NamespacesHandle): NamespaceCounts[] {
  const names = new SharedNames(handle.names).all();
  const numbers = new Float64Array(handle.numbers);
  const of = (place: number, use: KeyUse): number => {
    let sum = 0;
    for (let thread = 0; thread < handle.threads; thread++) sum += numbers[(thread * PLACES + place) * USES + use] ?? 0;
    return sum;
  };
  const counts = [...names.entries(), [OTHER_PLACE, OTHERS] as const].map(([place, name]) => ({
    name,
    hits: of(place, KeyUse.Hit),
    misses: of(place, KeyUse.Miss),
    sets: of(place, KeyUse.Set),
    deletes: of(place, KeyUse.Delete),
  }));
  return counts.filter(({ hits, misses, sets, deletes }) => hits + misses + sets + deletes > 0);
}

/** The names that have a place. They are added under a lock, never changed, and read without a lock. */
class SharedNames {
  readonly #words: Int32Array;
  readonly #bytes: Buffer;
  /** The places that this thread knows, by the bytes of the name as Latin-1. */
  readonly #known = new Map<string, number>();

  constructor(buffer: SharedArrayBuffer) {
    this.#words = new Int32Array(buffer, 0, NAMES_START / 4);
    this.#bytes = Buffer.from(buffer);
  }

  placeOf(name: string | null): number {
    if (name === null) return OTHER_PLACE;
    const known = this.#known.get(name);
    if (known !== undefined) return known;
    if (this.#known.size === NAMESPACES) return OTHER_PLACE;
    return this.#enter(name);
  }

  /** All names as text. */
  all(): string[] {
    this.#learn();
    return [...this.#known.keys()].map((name) => Buffer.from(name, "latin1").toString());
  }

  #enter(name: string): number {
    lock(this.#words, LOCK);
    try {
      this.#learn();
      const place = this.#known.get(name) ?? this.#known.size;
      if (place >= NAMESPACES) return OTHER_PLACE;
      if (place === this.#known.size) {
        const start = NAMES_START + place * NAME_BYTES;
        this.#bytes[start] = name.length;
        this.#bytes.latin1Write(name, start + 1);
        this.#known.set(name, place);
        Atomics.store(this.#words, COUNT, place + 1);
      }
      return place;
    } finally {
      unlock(this.#words, LOCK);
    }
  }

  #learn(): void {
    const count = Atomics.load(this.#words, COUNT);
    for (let place = this.#known.size; place < count; place++) {
      const start = NAMES_START + place * NAME_BYTES;
      const length = this.#bytes[start] ?? 0;
      this.#known.set(this.#bytes.latin1Slice(start + 1, start + 1 + length), place);
    }
  }
}
