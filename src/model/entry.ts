/** What an entry is made of, besides its key and its stamp. */

/** The largest value, in bytes: 16 MiB. */
export const MAX_VALUE_BYTES = 16 * 1024 * 1024;

/** The longest content type that is kept with a value, in bytes of ASCII. */
export const MAX_CONTENT_TYPE_BYTES = 255;

/** Expiry of an entry that never expires. */
export const NEVER = 0;

/** The content type of a value that is kept as JSON text. */
export const JSON_CONTENT_TYPE = "application/json";

/** A value with its type. */
export interface CacheValue {
  readonly bytes: Buffer;
  readonly contentType: string;
}
