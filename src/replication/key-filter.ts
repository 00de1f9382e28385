import { Glob } from "../model/glob.ts";

/**
 * Selects the replicated keys (`SERV_CACHE_REPLICATE`): those that match one of the globs, or all keys without globs.
 */
export class KeyFilter {
  readonly #globs: readonly Glob[];
  readonly #buffer = Buffer.allocUnsafe(4 * 1024);

  /** Throws `InvalidPatternError`. */
  constructor(globs: readonly string[]) {
    this.#globs = globs.map((glob) => Glob.parse(glob));
  }

  get isAll(): boolean {
    return this.#globs.length === 0;
  }

  /** Patterns that cover all replicated keys; null = all keys. */
  get patterns(): readonly (string | null)[] {
    return this.isAll ? [null] : this.#globs.map((glob) => glob.text);
  }

  takes(key: string): boolean {
    if (this.isAll) return true;
    const length = this.#buffer.write(key);
    return this.#globs.some((glob) => glob.matches(this.#buffer, 0, length));
  }
}
