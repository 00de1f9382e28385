import { Glob } from "../model/glob.ts";

/** Which keys are replicated (`SERV_CACHE_REPLICATE`): those that match one of some globs, or all where there is none. */
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

  /** What stands for all keys that are replicated; null = all there are. */
  get patterns(): readonly (string | null)[] {
    return this.isAll ? [null] : this.#globs.map((glob) => glob.text);
  }

  takes(key: string): boolean {
    if (this.isAll) return true;
    const length = this.#buffer.write(key);
    return this.#globs.some((glob) => glob.matches(this.#buffer, 0, length));
  }
}
