/** Keys: the UTF-8 bytes of a Unicode string, in buffers that their owners reuse. */

/** The largest key, in bytes of UTF-8. */
export const MAX_KEY_BYTES = 1024;

/**
 * The UTF-8 bytes of a key, in a buffer that its owner reuses: `bytes[0 .. length)`.
 * An engine that answers later copies what it needs before it returns.
 */
export interface Key {
  readonly bytes: Buffer;
  readonly length: number;
}

/** A copy of the key that the caller may keep. */
export function copyKey(key: Key): Key {
  return { bytes: Buffer.from(key.bytes.subarray(0, key.length)), length: key.length };
}

export function keyOf(name: string): Key {
  const bytes = Buffer.from(name);
  return { bytes, length: bytes.length };
}

export function nameOf(key: Key): string {
  return key.bytes.toString("utf8", 0, key.length);
}
