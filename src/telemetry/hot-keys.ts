/**
 * The keys that are read most, found with the Space-Saving algorithm (Metwally et al., ICDT 2005) in bounded memory.
 *
 * A table of `SLOTS` counted keys per thread: a key that is in it is counted; one that is not takes the place of the one
 * with the smallest count, and its count on top. What is read more often than one in `SLOTS` times is surely in it. Only
 * one read in `SAMPLE` is looked at, and all counts are halved now and then, so that the table tells of the last minutes.
 *
 * Each thread writes its own table; readers see by the turn of a slot whether it was rewritten meanwhile.
 */

interface KeyBytes {
  readonly bytes: Buffer;
  readonly length: number;
}

export interface HotKey {
  readonly key: string;
  /** About how many of the recent reads were of it. */
  readonly reads: number;
  /** By so much at most the reads may be too many, besides the sampling. */
  readonly errorReads: number;
  /** Of all recent reads. */
  readonly share: number;
  /** Length of the value when it was last looked at; null = it was not there. */
  readonly valueBytes: number | null;
}

export const SAMPLE = 32;
const SLOTS = 64;
const HALVE_AT_SAMPLES = 100_000;

// A table, in bytes: a header, then slots.
const HEADER_BYTES = 8;
/** Float64 of the header. */
const TOTAL = 0;
const MAX_KEY_BYTES = 1024;
/** Words of a slot's head, Int32: turn (odd = being written), hash, length of the key, length of the value. */
const TURN = 0;
const HASH = 1;
const KEY_LENGTH = 2;
const VALUE_LENGTH = 3;
/** Float64 of a slot's head. */
const READS = 2;
const ERROR = 3;
const KEY_START = 32;
const SLOT_BYTES = KEY_START + MAX_KEY_BYTES;
const TABLE_BYTES = HEADER_BYTES + SLOTS * SLOT_BYTES;
const ABSENT = -1;

/** Structured-cloneable. */
export interface HotKeysHandle {
  readonly threads: number;
  readonly tables: SharedArrayBuffer;
}

export function makeHotKeys(threads: number): HotKeysHandle {
  return { threads, tables: new SharedArrayBuffer(threads * TABLE_BYTES) };
}

/** One thread's table. */
export class HotKeys {
  readonly #table: Table;
  #untilSample: number;

  constructor(
    handle: HotKeysHandle,
    thread: number,
    /** In [0, 1). Looks at reads at random distances, so that no pattern of reads escapes. */
    private readonly random: () => number,
  ) {
    this.#table = new Table(handle.tables, thread);
    this.#untilSample = this.#distance();
  }

  /** Counts a read. @param valueBytes -1 = there was nothing */
  read(key: KeyBytes, valueBytes: number): void {
    if (--this.#untilSample > 0) return;
    this.#untilSample = this.#distance();
    this.#table.count(key, valueBytes);
  }

  #distance(): number {
    return 1 + Math.floor(this.random() * (2 * SAMPLE - 1));
  }
}

/** The keys that are read most, of all threads together, the first one most. */
export function hottestKeys(handle: HotKeysHandle, limit: number): HotKey[] {
  const byKey = new Map<string, { reads: number; error: number; valueBytes: number }>();
  let total = 0;
  for (let thread = 0; thread < handle.threads; thread++) {
    const table = new Table(handle.tables, thread);
    total += table.total;
    for (const { key, reads, error, valueBytes } of table.entries()) {
      const known = byKey.get(key) ?? { reads: 0, error: 0, valueBytes };
      byKey.set(key, { reads: known.reads + reads, error: known.error + error, valueBytes });
    }
  }
  return [...byKey]
    .sort(([, a], [, b]) => b.reads - b.error - (a.reads - a.error))
    .slice(0, limit)
    .map(([key, { reads, error, valueBytes }]) => ({
      key,
      reads: Math.round(reads * SAMPLE),
      errorReads: Math.round(error * SAMPLE),
      share: total === 0 ? 0 : Math.min(1, reads / total),
      valueBytes: valueBytes === ABSENT ? null : valueBytes,
    }));
}

class Table {
  readonly #words: Int32Array;
  readonly #numbers: Float64Array;
  readonly #bytes: Buffer;

  constructor(buffer: SharedArrayBuffer, thread: number) {
    const start = thread * TABLE_BYTES;
    this.#words = new Int32Array(buffer, start, TABLE_BYTES / 4);
    this.#numbers = new Float64Array(buffer, start, TABLE_BYTES / 8);
    this.#bytes = Buffer.from(buffer, start, TABLE_BYTES);
  }

  get total(): number {
    return this.#numbers[TOTAL] ?? 0;
  }

  count(key: KeyBytes, valueBytes: number): void {
    const hash = hashOf(key);
    let smallest = 0;
    let smallestReads = Number.POSITIVE_INFINITY;
    this.#numbers[TOTAL] = this.total + 1;
    if (this.total >= HALVE_AT_SAMPLES) this.#halve();
    for (let slot = 0; slot < SLOTS; slot++) {
      const reads = this.#numbers[numberOf(slot, READS)] ?? 0;
      if (reads > 0 && this.#words[wordOf(slot, HASH)] === hash && this.#holds(slot, key)) {
        this.#numbers[numberOf(slot, READS)] = reads + 1;
        this.#words[wordOf(slot, VALUE_LENGTH)] = valueBytes;
        return;
      }
      if (reads < smallestReads) {
        smallest = slot;
        smallestReads = reads;
      }
    }
    this.#replace(smallest, key, hash, smallestReads, valueBytes);
  }

  *entries(): Generator<{ key: string; reads: number; error: number; valueBytes: number }> {
    for (let slot = 0; slot < SLOTS; slot++) {
      const turn = Atomics.load(this.#words, wordOf(slot, TURN));
      const reads = this.#numbers[numberOf(slot, READS)] ?? 0;
      const error = this.#numbers[numberOf(slot, ERROR)] ?? 0;
      const valueBytes = this.#words[wordOf(slot, VALUE_LENGTH)] ?? ABSENT;
      const start = keyStart(slot);
      const key = this.#bytes.toString("utf8", start, start + (this.#words[wordOf(slot, KEY_LENGTH)] ?? 0));
      if (reads === 0 || turn % 2 !== 0 || Atomics.load(this.#words, wordOf(slot, TURN)) !== turn) continue;
      yield { key, reads, error, valueBytes };
    }
  }

  #replace(...[slot, key, hash, smallestReads, valueBytes]: [number, KeyBytes, number, number, number]): void {
    Atomics.add(this.#words, wordOf(slot, TURN), 1);
    this.#words[wordOf(slot, HASH)] = hash;
    this.#words[wordOf(slot, KEY_LENGTH)] = key.length;
    this.#words[wordOf(slot, VALUE_LENGTH)] = valueBytes;
    this.#numbers[numberOf(slot, READS)] = smallestReads + 1;
    this.#numbers[numberOf(slot, ERROR)] = smallestReads;
    key.bytes.copy(this.#bytes, keyStart(slot), 0, key.length);
    Atomics.add(this.#words, wordOf(slot, TURN), 1);
  }

  #holds(slot: number, { bytes, length }: KeyBytes): boolean {
    if (this.#words[wordOf(slot, KEY_LENGTH)] !== length) return false;
    const start = keyStart(slot);
    for (let at = 0; at < length; at++) {
      if (this.#bytes[start + at] !== bytes[at]) return false;
    }
    return true;
  }

  #halve(): void {
    this.#numbers[TOTAL] = this.total / 2;
    for (let slot = 0; slot < SLOTS; slot++) {
      for (const number of [READS, ERROR]) {
        this.#numbers[numberOf(slot, number)] = (this.#numbers[numberOf(slot, number)] ?? 0) / 2;
      }
    }
  }
}

function wordOf(slot: number, word: number): number {
  return (HEADER_BYTES + slot * SLOT_BYTES) / 4 + word;
}

function numberOf(slot: number, number: number): number {
  return (HEADER_BYTES + slot * SLOT_BYTES) / 8 + number;
}

function keyStart(slot: number): number {
  return HEADER_BYTES + slot * SLOT_BYTES + KEY_START;
}

/** FNV-1a. */
function hashOf({ bytes, length }: KeyBytes): number {
  let hash = 0x811c9dc5;
  for (let at = 0; at < length; at++) hash = Math.imul(hash ^ (bytes[at] ?? 0), 0x01000193);
  return hash;
}
