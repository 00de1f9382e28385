import type { DeleteRequest, EntryInfo, EntrySink, PutRequest } from "../../src/engine/engine.ts";
import { JSON_ATTRIBUTES, NEVER } from "../../src/model/entry.ts";
import type { Key } from "../../src/model/key.ts";
import type { Version } from "../../src/model/stamp.ts";

export const KEY_BYTES = 16;

/** The key of a number: 16 characters. */
export function keyText(number: number): string {
  return `key:${String(number).padStart(KEY_BYTES - 4, "0")}`;
}

/** Keys of these numbers as an engine takes them, beside each other in memory. */
export function engineKeys(numbers: Int32Array): Key[] {
  const slab = Buffer.allocUnsafe(numbers.length * KEY_BYTES);
  return Array.from(numbers, (number, index) => {
    const start = index * KEY_BYTES;
    slab.write(keyText(number), start, KEY_BYTES, "latin1");
    return { bytes: slab.subarray(start, start + KEY_BYTES), length: KEY_BYTES };
  });
}

/** The key of one number as an engine takes it. */
export function keyOfNumber(number: number): Key {
  return { bytes: Buffer.from(keyText(number), "latin1"), length: KEY_BYTES };
}

/** 0 … count - 1 in an order that looks random and is always the same. */
export function shuffledNumbers(count: number): Int32Array {
  const numbers = Int32Array.from({ length: count }, (_, index) => index);
  const random = mulberry32(20240101);
  for (let index = count - 1; index > 0; index--) {
    const other = Math.floor(random() * (index + 1));
    const kept = numbers[index] ?? 0;
    numbers[index] = numbers[other] ?? 0;
    numbers[other] = kept;
  }
  return numbers;
}

/** A small seeded generator of numbers in [0, 1). (Tommy Ettinger's Mulberry32.) */
export function mulberry32(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

/** Where gets put values: always the same place. */
export class FixedSink implements EntrySink {
  readonly target: Buffer;
  readonly offset = 0;

  constructor(
    maxValueBytes: number,
    readonly wantsValue: boolean,
  ) {
    this.target = Buffer.alloc(maxValueBytes);
  }

  begin(_entry: EntryInfo): boolean {
    return this.wantsValue;
  }
}

/** Requests that are reused, each with a newer version than the one before. */
export class EngineRequests {
  readonly #stamp = { version: newerThanAllBefore(), nodeId: 0 };
  readonly #value: Buffer;
  readonly #put: { -readonly [Field in keyof PutRequest]: PutRequest[Field] };
  readonly #delete: { -readonly [Field in keyof DeleteRequest]: DeleteRequest[Field] };

  constructor(valueBytes: number, anyKey: Key) {
    this.#value = Buffer.alloc(valueBytes, "v");
    this.#put = {
      key: anyKey,
      source: this.#value,
      start: 0,
      end: valueBytes,
      attributes: JSON_ATTRIBUTES,
      expiresAtMs: NEVER,
      stamp: this.#stamp,
      condition: null,
    };
    this.#delete = { key: anyKey, stamp: this.#stamp, condition: null, tombstoneUntilMs: NEVER };
  }

  put(key: Key): PutRequest {
    this.#stamp.version = next(this.#stamp.version);
    this.#put.key = key;
    return this.#put;
  }

  delete(key: Key): DeleteRequest {
    this.#stamp.version = next(this.#stamp.version);
    this.#delete.key = key;
    return this.#delete;
  }
}

const EPOCH_MS = Date.UTC(2024, 0, 1);

function newerThanAllBefore(): Version {
  return ((Date.now() - EPOCH_MS) * 4096) as Version;
}

function next(version: Version): Version {
  return (version + 1) as Version;
}
