/**
 * The newest touch of each recently touched key. A touched entry keeps the stamp of its put, so that no touch wins
 * against a newer put; only this record tells which of two touches of one put is newer.
 *
 * Beyond the bound the oldest touches are forgotten: then the touch that arrives last wins on this node.
 */

import { isNewer, isSame, type Stamp } from "../model/stamp.ts";
import { BoundedMap } from "../runtime/bounded-map.ts";

export interface Touch {
  /** The stamp of the touched put. */
  readonly seen: Stamp;
  readonly stamp: Stamp;
  /** Absolute, in ms since the Unix epoch; `NEVER` = none. */
  readonly expiresAtMs: number;
}

const MOST = 50_000;

export class RecentTouches {
  readonly #touches: BoundedMap<string, Touch>;

  constructor(most = MOST) {
    this.#touches = new BoundedMap(most);
  }

  /** False = a newer touch, or a touch of a newer put, is known. */
  note(key: string, touch: Touch): boolean {
    const known = this.#touches.get(key);
    if (known !== undefined) {
      if (!isSame(touch.seen, known.seen) ? isNewer(known.seen, touch.seen) : isNewer(known.stamp, touch.stamp))
        return false;
    }
    this.#touches.set(key, touch);
    return true;
  }

  /** The touch of the put with this stamp; null = none is known. */
  of(key: string, seen: Stamp): Touch | null {
    const known = this.#touches.get(key);
    return known === undefined || !isSame(known.seen, seen) ? null : known;
  }
}
