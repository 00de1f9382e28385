/** The versions of the last fills by key: a mutation that is older, and is kept later, was not seen by the load. */
import type { Version } from "../engine/engine.ts";

/** More than can be loaded while a mutation is on its way from its thread. */
const MOST = 10_000;

export class RecentFills {
  readonly #versions = new Map<string, Version>();
  readonly #pinned = new Map<string, Version>();

  add(key: string, version: Version): void {
    this.#versions.delete(key);
    this.#versions.set(key, version);
    if (this.#versions.size <= MOST) return;
    for (const oldest of this.#versions.keys()) {
      this.#versions.delete(oldest);
      return;
    }
  }

  /** As `add`, and it is not forgotten before it is taken. */
  pin(key: string, version: Version): void {
    this.#pinned.set(key, version);
  }

  /** The version of the last fill, which is forgotten then; 0 = none is known. */
  take(key: string): Version {
    const version = this.#pinned.get(key) ?? this.#versions.get(key);
    if (version === undefined) return 0 as Version;
    this.#pinned.delete(key);
    this.#versions.delete(key);
    return version;
  }
}
