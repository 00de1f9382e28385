import { LRUCache } from "lru-cache";
import type { Engine } from "../../src/engine/engine.ts";
import { MemoryEngine } from "../../src/engine/memory/memory-engine.ts";
import type { Key } from "../../src/model/key.ts";
import { EngineRequests, engineKeys, FixedSink, keyOfNumber, keyText } from "./engine-keys.ts";

export const VALUE_BYTES = 100;

export const OPERATIONS = ["put", "get", "get from bytes", "get of one key", "delete"] as const;
/** The number of the entry that "get of one key" reads. */
const HOT_KEY = 4711;
const HOT_KEY_TEXT = keyText(HOT_KEY);
export type Operation = (typeof OPERATIONS)[number];

/** Which entries a store's thread works on. */
export interface Slice {
  /** Puts go in this order, */
  readonly ordered: Int32Array;
  /** gets and deletes in this one. */
  readonly shuffled: Int32Array;
}

/** Does one operation on every entry of its slice; gives how many of them found what they should. */
export interface Store {
  run(operation: Operation): number;
}

export type EngineHandle = MemoryEngine["handle"];

export class EngineStore implements Store {
  readonly #engine: Engine;
  readonly #ordered: Key[];
  readonly #shuffled: Key[];
  /** The same for all threads. */
  readonly #hot = keyOfNumber(HOT_KEY);
  readonly #sink = new FixedSink(VALUE_BYTES, true);

  constructor(slice: Slice, handle: EngineHandle, thread: number) {
    this.#engine = MemoryEngine.attach(handle, thread, { clock: Date.now });
    this.#ordered = engineKeys(slice.ordered);
    this.#shuffled = engineKeys(slice.shuffled);
  }

  run(operation: Operation): number {
    const requests = new EngineRequests(VALUE_BYTES, { bytes: Buffer.alloc(0), length: 0 });
    let done = 0;
    switch (operation) {
      case "put":
        for (const key of this.#ordered) if (this.#engine.put(requests.put(key)) === "stored") done++;
        return done;
      // The engine takes bytes: there is nothing to make of them first.
      case "get":
      case "get from bytes":
        for (const key of this.#shuffled) if (this.#engine.get(key, this.#sink) === true) done++;
        return done;
      case "get of one key":
        for (let gets = 0; gets < this.#shuffled.length; gets++) {
          if (this.#engine.get(this.#hot, this.#sink) === true) done++;
        }
        return done;
      case "delete":
        for (const key of this.#shuffled) if (this.#engine.delete(requests.delete(key)) === "deleted") done++;
        return done;
    }
  }
}

/** What a Map and lru-cache have in common. */
interface StringMap {
  get(key: string): Buffer | undefined;
  set(key: string, value: Buffer): unknown;
  delete(key: string): boolean;
}

/** Buffers under string keys; values are copied in and out, as a cache has to. */
export class StringStore implements Store {
  readonly #ordered: string[];
  readonly #shuffled: string[];
  readonly #shuffledBytes: Key[];
  readonly #source = Buffer.alloc(VALUE_BYTES, "v");
  readonly #target = Buffer.alloc(VALUE_BYTES);

  constructor(
    slice: Slice,
    readonly map: StringMap,
  ) {
    this.#ordered = Array.from(slice.ordered, keyText);
    this.#shuffled = Array.from(slice.shuffled, keyText);
    this.#shuffledBytes = engineKeys(slice.shuffled);
  }

  run(operation: Operation): number {
    switch (operation) {
      case "put":
        for (const key of this.#ordered) this.map.set(key, Buffer.from(this.#source));
        return this.#ordered.length;
      case "get":
        return this.#get();
      case "get from bytes":
        return this.#getFromBytes();
      case "get of one key":
        return this.#getOne();
      case "delete":
        return this.#delete();
    }
  }

  #get(): number {
    let found = 0;
    for (const key of this.#shuffled) {
      const value = this.map.get(key);
      if (value !== undefined) found += value.copy(this.#target) === VALUE_BYTES ? 1 : 0;
    }
    return found;
  }

  #getFromBytes(): number {
    let found = 0;
    for (const { bytes, length } of this.#shuffledBytes) {
      const value = this.map.get(bytes.toString("latin1", 0, length));
      if (value !== undefined) found += value.copy(this.#target) === VALUE_BYTES ? 1 : 0;
    }
    return found;
  }

  #getOne(): number {
    let found = 0;
    for (let gets = 0; gets < this.#shuffled.length; gets++) {
      const value = this.map.get(HOT_KEY_TEXT);
      if (value !== undefined) found += value.copy(this.#target) === VALUE_BYTES ? 1 : 0;
    }
    return found;
  }

  #delete(): number {
    let deleted = 0;
    for (const key of this.#shuffled) if (this.map.delete(key)) deleted++;
    return deleted;
  }
}

export function mapStore(slice: Slice): Store {
  return new StringStore(slice, new Map<string, Buffer>());
}

export function lruCacheStore(slice: Slice): Store {
  return new StringStore(slice, new LRUCache<string, Buffer>({ max: slice.ordered.length }));
}
