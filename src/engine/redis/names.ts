import { isUtf8 } from "node:buffer";
import { type Key, MAX_KEY_BYTES } from "../../model/key.ts";
import { RedisConfigError } from "./errors.ts";
import { makeSlotTags, slotOf } from "./slots.ts";

/** The first character of helper names. No key begins with it, because keys have no control characters. */
const HELPER_MARK = "\u0001";
/** Characters that no key contains. */
const CONTROL = /\p{Cc}/u;

/**
 * The names of entries in Redis: prefix and key. An entry may have helpers on the same hash slot, so that a script can
 * access both: its tombstone, and the floor (the stamp of the last clear).
 */
export class Names {
  readonly prefix: string;
  readonly #prefixBytes: Buffer;
  readonly #isCluster: () => boolean;
  #slotTags: readonly string[] | null = null;

  /** @param isCluster whether helpers must be on the slots of their entries */
  constructor(prefix: string, isCluster: () => boolean) {
    const braces = prefix.replace(/[^{}]/g, "");
    if (braces !== "" && (braces !== "{}" || prefix.includes("{}") || prefix.indexOf("}") < prefix.indexOf("{"))) {
      throw new RedisConfigError(`prefix "${prefix}" may contain braces only as one hash tag like {app}`);
    }
    if (prefix.includes(HELPER_MARK)) throw new RedisConfigError("the prefix may not contain control characters");
    this.prefix = prefix;
    this.#isCluster = isCluster;
    this.#prefixBytes = Buffer.from(prefix);
  }

  ofEntry(key: Key): string {
    return this.prefix + key.bytes.toString("utf8", 0, key.length);
  }

  tombstoneOf(name: string): string {
    const key = name.slice(this.prefix.length);
    return `${this.prefix}${HELPER_MARK}t${this.#tagFor(name)}${key}`;
  }

  floorOf(name: string): string {
    return `${this.prefix}${HELPER_MARK}f${this.#tagFor(name)}`;
  }

  /** The floors of all slots. */
  allFloors(): string[] {
    if (this.#fixesSlot()) return [`${this.prefix}${HELPER_MARK}f`];
    return this.#tags().map((tag) => `${this.prefix}${HELPER_MARK}f{${tag}}`);
  }

  /** An unused name on the same slot as an entry. */
  probeOf(name: string): string {
    return `${this.prefix}${HELPER_MARK}p${this.#tagFor(name)}`;
  }

  /** Where the key begins in a name returned by a server; -1 = not an entry under our prefix. */
  keyStart(name: Buffer): number {
    const start = this.#prefixBytes.length;
    if (name.length <= start || name[start] === HELPER_MARK.charCodeAt(0)) return -1;
    return name.compare(this.#prefixBytes, 0, start, 0, start) === 0 ? start : -1;
  }

  /** The key in a name returned by a server; null = a key that the API does not accept, of another program. */
  keyOf(name: Buffer): string | null {
    const start = this.keyStart(name);
    if (start < 0 || name.length - start > MAX_KEY_BYTES || !isUtf8(name)) return null;
    const key = name.toString("utf8", start);
    return CONTROL.test(key) ? null : key;
  }

  #tagFor(name: string): string {
    return this.#fixesSlot() ? "" : `{${this.#tags()[slotOf(name)]}}`;
  }

  #fixesSlot(): boolean {
    return !this.#isCluster() || this.prefix.includes("{");
  }

  #tags(): readonly string[] {
    this.#slotTags ??= makeSlotTags();
    return this.#slotTags;
  }
}
