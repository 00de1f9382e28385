import type { Key } from "../../model/key.ts";

const SLOT_COUNT = 65_536;
/** The epoch of all keys together, behind those of the slots. */
const ALL = SLOT_COUNT;

/** Allocates the memory that the `KeyEpochs` of several threads share. */
export function makeNearEpochs(): SharedArrayBuffer {
  return new SharedArrayBuffer((SLOT_COUNT + 1) * Int32Array.BYTES_PER_ELEMENT);
}

/**
 * A number per key that advances whenever the key may have changed. Keys share numbers by hash: a change of another key
 * can waste a fill, but never makes one wrong.
 */
export class KeyEpochs {
  readonly #epochs: Int32Array;

  constructor(shared: SharedArrayBuffer | null) {
    this.#epochs = new Int32Array(shared ?? makeNearEpochs());
  }

  of(key: Key): number {
    return Atomics.load(this.#epochs, slotOf(key)) * 2 ** 20 + (Atomics.load(this.#epochs, ALL) & 0xf_ffff);
  }

  move(key: Key): void {
    Atomics.add(this.#epochs, slotOf(key), 1);
  }

  moveAll(): void {
    Atomics.add(this.#epochs, ALL, 1);
  }
}

function slotOf(key: Key): number {
  return Bun.hash.xxHash32(key.bytes.subarray(0, key.length)) & (SLOT_COUNT - 1);
}
