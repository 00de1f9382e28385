/** The last fills by key: a mutation that they did not see, and that is kept later, undoes them. */
import type { Version } from "../model/stamp.ts";
import { BoundedMap } from "../runtime/bounded-map.ts";

/** More than can be loaded while a mutation is on its way from its thread. */
const MOST = 10_000;

interface Fill {
  readonly version: Version;
  /** The newest write that it is known to have seen; 0 = none is. */
  readonly seen: Version;
}

export class RecentFills {
  readonly #fills = new BoundedMap<string, Fill>(MOST);
  readonly #pinned = new Map<string, Fill>();

  add(key: string, version: Version, seen = 0 as Version): void {
    this.#fills.set(key, { version, seen });
  }

  /** As `add`, and it is not forgotten before it is taken. */
  pin(key: string, version: Version, seen = 0 as Version): void {
    this.#pinned.set(key, { version, seen });
  }

  /**
   * The version of the last fill, which is forgotten then; 0 = none is known, or it has seen the mutation of the version
   * `by`.
   */
  take(key: string, by = Number.MAX_SAFE_INTEGER): Version {
    const fill = this.#pinned.get(key) ?? this.#fills.get(key);
    if (fill === undefined || by <= fill.seen) return 0 as Version;
    this.#pinned.delete(key);
    this.#fills.delete(key);
    return fill.version;
  }
}
