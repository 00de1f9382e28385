const GIVE_UP_MS = 5_000;

/** Settles when the condition holds; throws where it does not within 5 s. */
export async function waitUntil(what: string, condition: () => boolean): Promise<void> {
  const endMs = performance.now() + GIVE_UP_MS;
  while (!condition()) {
    if (performance.now() > endMs) throw new Error(`still not so: ${what}`);
    await Bun.sleep(2);
  }
}
