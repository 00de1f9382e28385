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

const SAMPLE = 64;
const SLOTS = 64;
const HALVE_AT_SAMPLES = 100_000;
const MAX_KEY_BYTES = 1024;
const ABSENT = -1;

// A table: one column after the other, so that a look through a column touches few lines of memory; then the keys.
/** Float64. */
const TOTAL = 0;
const READS = 1;
const ERRORS = READS + SLOTS;
const NUMBERS = ERRORS + SLOTS;
/** Int32. Odd while the slot is being rewritten. */
const TURNS = NUMBERS * 2;
const HASHES = TURNS + SLOTS;
const KEY_LENGTHS = HASHES + SLOTS;
const VALUE_LENGTHS = KEY_LENGTHS + SLOTS;
const KEYS_START = (VALUE_LENGTHS + SLOTS) * 4;
const TABLE_BYTES = KEYS_START + SLOTS * MAX_KEY_BYTES;

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

/** The keys that are surely read most, of all threads together, the first one most; none whose error outweighs its reads. */
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
    .filter(([, { reads, error }]) => reads - error >= error)
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
    const numbers = this.#numbers;
    numbers[TOTAL] = this.total + 1;
    if (this.total >= HALVE_AT_SAMPLES) this.#halve();
    const hash = hashOf(key);
    const slot = this.#slotOf(key, hash);
    if (slot < 0) {
      this.#replaceSmallest(key, hash, valueBytes);
      return;
    }
    numbers[READS + slot] = (numbers[READS + slot] ?? 0) + 1;
    this.#words[VALUE_LENGTHS + slot] = valueBytes;
  }

  *entries(): Generator<{ key: string; reads: number; error: number; valueBytes: number }> {
    for (let slot = 0; slot < SLOTS; slot++) {
      const turn = Atomics.load(this.#words, TURNS + slot);
      const reads = this.#numbers[READS + slot] ?? 0;
      const error = this.#numbers[ERRORS + slot] ?? 0;
      const valueBytes = this.#words[VALUE_LENGTHS + slot] ?? ABSENT;
      const start = keyStart(slot);
      const key = this.#bytes.toString("utf8", start, start + (this.#words[KEY_LENGTHS + slot] ?? 0));
      if (reads === 0 || turn % 2 !== 0 || Atomics.load(this.#words, TURNS + slot) !== turn) continue;
      yield { key, reads, error, valueBytes };
    }
  }

  /** Where the key is; -1 = it is not in the table. */
  #slotOf(key: KeyBytes, hash: number): number {
    const words = this.#words;
    for (let slot = 0; slot < SLOTS; slot++) {
      if (words[HASHES + slot] === hash && this.#holds(slot, key)) return slot;
    }
    return -1;
  }

  #replaceSmallest(key: KeyBytes, hash: number, valueBytes: number): void {
    const numbers = this.#numbers;
    const words = this.#words;
    let slot = 0;
    for (let other = 1; other < SLOTS; other++) {
      if ((numbers[READS + other] ?? 0) < (numbers[READS + slot] ?? 0)) slot = other;
    }
    const smallest = numbers[READS + slot] ?? 0;
    Atomics.add(words, TURNS + slot, 1);
    words[HASHES + slot] = hash;
    words[KEY_LENGTHS + slot] = key.length;
    words[VALUE_LENGTHS + slot] = valueBytes;
    numbers[READS + slot] = smallest + 1;
    numbers[ERRORS + slot] = smallest;
    key.bytes.copy(this.#bytes, keyStart(slot), 0, key.length);
    Atomics.add(words, TURNS + slot, 1);
  }

  /** Keys have one byte at least, so an empty slot holds none. */
  #holds(slot: number, { bytes, length }: KeyBytes): boolean {
    if (this.#words[KEY_LENGTHS + slot] !== length) return false;
    const start = keyStart(slot);
    for (let at = 0; at < length; at++) {
      if (this.#bytes[start + at] !== bytes[at]) return false;
    }
    return true;
  }

  #halve(): void {
    const numbers = this.#numbers;
    for (let at = TOTAL; at < NUMBERS; at++) numbers[at] = (numbers[at] ?? 0) / 2;
  }
}

function keyStart(slot: number): number {
  return KEYS_START + slot * MAX_KEY_BYTES;
}

/** FNV-1a. */
function hashOf({ bytes, length }: KeyBytes): number {
  let hash = 0x811c9dc5;
  for (let at = 0; at < length; at++) hash = Math.imul(hash ^ (bytes[at] ?? 0), 0x01000193);
  return hash;
}
