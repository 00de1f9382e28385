/** Waits for a condition, looking every few milliseconds. Throws with `what` after `limitMs`. */
export async function until(
  what: string,
  condition: () => boolean | Promise<boolean>,
  limitMs = 240_000,
): Promise<void> {
  const endMs = performance.now() + limitMs;
  while (!(await condition())) {
    if (performance.now() > endMs) throw new Error(`waited ${limitMs} ms in vain: ${what}`);
    await Bun.sleep(2);
  }
}

/** The same for conditions that say themselves what they are about. */
export function eventually(condition: () => boolean | Promise<boolean>, limitMs?: number): Promise<void> {
  return until(String(condition), condition, limitMs);
}
