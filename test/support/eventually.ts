/** Resolves when the condition holds; rejects when it doesn't within `limitMs`. */
export async function eventually(condition: () => boolean | Promise<boolean>, limitMs = 15_000): Promise<void> {
  const untilMs = performance.now() + limitMs;
  while (!(await condition())) {
    if (performance.now() > untilMs) throw new Error(`still not so after ${limitMs} ms: ${condition}`);
    await Bun.sleep(2);
  }
}
