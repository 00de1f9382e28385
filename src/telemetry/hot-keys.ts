/**
 * Finds the most read keys in bounded memory with the Space-Saving algorithm (Metwally et al., ICDT 2005).
 *
 * Each thread has a table of `SLOTS` counted keys. A read of a key in the table increments its count; any other key
 * replaces the key with the smallest count and inherits that count. A key that gets more than one in `SLOTS` reads is
 * always in the table. Only one read in `SAMPLE` is counted, and all counts are halved periodically, so that the table
 * describes the last minutes.
 *
 * Each thread writes only its own table; the turn counter of a slot tells readers whether it was rewritten meanwhile.
 */

interface KeyBytes {
  readonly bytes: Buffer;
  readonly length: number;
}

export interface HotKey {
  readonly key: string;
  /** Estimated number of recent reads of the key. */
  readonly reads: number;
  /** The most by which `reads` may be too high, apart from the sampling error. */
  readonly errorReads: number;
  /** Share of all recent reads. */
  readonly share: number;
  /** Length of the value at the last sampled read; null = the key was absent. */
  readonly valueBytes: number | null;
}

const SAMPLE = 64;
const SLOTS = 64;
const HALVE_AT_SAMPLES = 100_000;
const MAX_KEY_BYTES = 1024;
const ABSENT = -1;

// The table is stored column by column, followed by the keys, so that a scan of a column touches few cache lines.
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
    /** Returns a number in [0, 1). Sampling distances are random, so that a periodic access pattern is sampled, too. */
    private readonly random: () => number,
  ) {
    this.#table = new Table(handle.tables, thread);
    this.#untilSample = this.#distance();
  }

  /** Counts a read. @param valueBytes -1 = the key was absent */
  read(key: KeyBytes, valueBytes: number): void {
    if (--this.#untilSample > 0) return;
    this.#untilSample = this.#distance();
    this.#table.count(key, valueBytes);
  }

  #distance(): number {
    return 1 + Math.floor(this.random() * (2 * SAMPLE - 1));
  }
}

/**
 * The most read keys of all threads together, the most read first. Keys whose error exceeds their count are left out.
 */
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

  /** The slot of the key; -1 = not in the table. */
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

  /** A key has at least one byte, so an empty slot matches none. */
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
