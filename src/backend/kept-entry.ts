/** The engine's entry of a key that is given by name. */

import { EntryCapture } from "../cache/entry-capture.ts";
import type { LateFills } from "../cache/filler.ts";
import type { Engine } from "../engine/engine.ts";
import type { Glob } from "../model/glob.ts";
import { keyOf } from "../model/key.ts";
import type { Awaitable } from "../runtime/awaitable.ts";
import type { Kept } from "./read-through.ts";

/** What the engine has of a key, unless what waits for it is newer; null = nothing. A failure to ask counts as nothing. */
export function keptEntry(engine: Engine, key: string, late?: Pick<LateFills, "hides">): Awaitable<Kept | null> {
  const capture = new EntryCapture();
  const shown = (found: boolean): Kept | null => {
    if (!found) return null;
    const { value, expiresAtMs, stamp } = capture.entry();
    if (late?.hides(key, stamp) === true) return null;
    return { value, expiresAtMs, version: stamp.version };
  };
  const found = engine.peek(keyOf(key), capture);
  return found instanceof Promise ? found.then(shown, () => null) : shown(found);
}

export function keyMatches(glob: Glob, key: string): boolean {
  const { bytes, length } = keyOf(key);
  return glob.matches(bytes, 0, length);
}
