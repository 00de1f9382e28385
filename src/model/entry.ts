/** What an entry is made of, besides its key and its stamp. */

/** The largest value, in bytes: 16 MiB. */
export const MAX_VALUE_BYTES = 16 * 1024 * 1024;

/** The longest content type that is kept with a value, in bytes of ASCII. */
export const MAX_CONTENT_TYPE_BYTES = 255;

/** What a content type is made of, whoever stored it: it goes into a header as it is. */
export const CONTENT_TYPE_FORM = /^[\x20-\x7e]+$/;

/** Expiry of an entry that never expires. */
export const NEVER = 0;

/** In place of the time until which a delete is remembered: it leaves no tombstone. */
export const NO_TOMBSTONE = 0;

/** The content type of a value that is kept as JSON text. */
export const JSON_CONTENT_TYPE = "application/json";

/** The content type of bytes of which nothing else is known. */
export const BINARY_CONTENT_TYPE = "application/octet-stream";

/**
 * What is kept of an entry beside its bytes, its expiry and its stamp. Whoever hands an entry on hands this on, too, and
 * looks into it only where it has to.
 */
export interface Attributes {
  readonly contentType: string;
}

export const JSON_ATTRIBUTES: Attributes = { contentType: JSON_CONTENT_TYPE };

/** Whether the bytes are JSON text. */
export function holdsJson({ contentType }: Attributes): boolean {
  return contentType === JSON_CONTENT_TYPE;
}

/** A value with its attributes. */
export interface CacheValue extends Attributes {
  readonly bytes: Buffer;
}

export function isSameValue(a: CacheValue, b: CacheValue): boolean {
  return a.contentType === b.contentType && a.bytes.equals(b.bytes);
}

/** The attributes are copied. */
export function valueWith(bytes: Buffer, { contentType }: Attributes): CacheValue {
  return { bytes, contentType };
}
