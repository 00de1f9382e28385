/** The newest stamps of the most recently noted keys: at least as many as one generation holds. */
import { isNewer, type Stamp } from "../model/stamp.ts";

const GENERATION_KEYS = 16_384;

export class RecentStamps {
  #young = new Map<string, Stamp>();
  #old = new Map<string, Stamp>();

  note(key: string, stamp: Stamp): void {
    const known = this.#young.get(key);
    if (known !== undefined && !isNewer(stamp, known)) return;
    this.#young.set(key, stamp);
    if (this.#young.size < GENERATION_KEYS) return;
    this.#old = this.#young;
    this.#young = new Map();
  }

  hasNewer(key: string, stamp: Stamp): boolean {
    const young = this.#young.get(key);
    const old = this.#old.get(key);
    return (young !== undefined && isNewer(young, stamp)) || (old !== undefined && isNewer(old, stamp));
  }
}
