/**
 * The names of the write sessions that may not be over yet, in a file that the next start reads.
 *
 * Each name has a place of its own in a file of fixed size, so that a full disk does not refuse it and a torn write
 * harms no other name.
 */
import {
  closeSync,
  constants,
  fdatasyncSync,
  fstatSync,
  ftruncateSync,
  openSync,
  readFileSync,
  writeSync,
} from "node:fs";

const PLACES = 128;
const PLACE_BYTES = 64;
const NAME = /^servcache-[0-9a-f]{24}$/;

export class SessionLedger {
  readonly #places: (string | null)[] = new Array<string | null>(PLACES).fill(null);
  #descriptor: number | null = null;

  /** `path` is made when the first name comes; null = names are kept in memory only. */
  constructor(private readonly path: string | null) {
    const text = path === null ? "" : readIfThere(path);
    for (let place = 0; place < PLACES; place++) {
      const name = text.slice(place * PLACE_BYTES, (place + 1) * PLACE_BYTES).trimEnd();
      if (NAME.test(name)) this.#places[place] = name;
    }
  }

  names(): string[] {
    return this.#places.filter((name) => name !== null);
  }

  has(name: string): boolean {
    return this.#places.includes(name);
  }

  /** Returns when the name is on the disk. Throws where it can't be, or no place is free. */
  add(name: string): void {
    const place = this.#places.indexOf(null);
    if (place < 0) throw new Error(`${PLACES} earlier sessions of this node are not over yet`);
    this.#write(place, name);
    this.#places[place] = name;
  }

  remove(name: string): void {
    const place = this.#places.indexOf(name);
    if (place < 0) return;
    this.#write(place, "");
    this.#places[place] = null;
  }

  close(): void {
    if (this.#descriptor !== null) closeSync(this.#descriptor);
    this.#descriptor = null;
  }

  #write(place: number, name: string): void {
    if (this.path === null) return;
    this.#descriptor ??= openWhole(this.path);
    writeSync(this.#descriptor, `${name.padEnd(PLACE_BYTES - 1)}\n`, place * PLACE_BYTES);
    fdatasyncSync(this.#descriptor);
  }
}

function openWhole(path: string): number {
  const descriptor = openSync(path, constants.O_RDWR | constants.O_CREAT, 0o600);
  const size = PLACES * PLACE_BYTES;
  try {
    if (fstatSync(descriptor).size !== size) {
      ftruncateSync(descriptor, size);
      // Written, because a file of holes has no room on the disk yet.
      writeSync(descriptor, `${" ".repeat(PLACE_BYTES - 1)}\n`.repeat(PLACES), 0);
    }
    return descriptor;
  } catch (error) {
    closeSync(descriptor);
    throw error;
  }
}

function readIfThere(path: string): string {
  try {
    return readFileSync(path, "latin1");
  } catch {
    return "";
  }
}
