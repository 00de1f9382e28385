import { ApiError } from "./api-error.ts";
import { EXCERPT_SOURCE_BYTES, excerpt } from "./excerpt.ts";
import { isPresent, isString, type JsonRange } from "./json-scan.ts";
import type { KeyBuffer } from "./key-buffer.ts";

/** The raw text of a member, or null where it is absent. */
export function textOf(body: Buffer, range: JsonRange): string | null {
  return isPresent(range) ? body.toString("utf8", range.start, range.end) : null;
}

/** The beginning of the raw text of a member that is there, for an error. */
export function excerptOf(body: Buffer, { start, end }: JsonRange): string {
  return excerpt(body.toString("utf8", start, Math.min(end, start + EXCERPT_SOURCE_BYTES)));
}

/** Reads the member `key` of a body. Throws `ApiError` (400) where it is no string, `BadKeyError` where it is no key. */
export function readKey(body: Buffer, range: JsonRange, key: KeyBuffer): void {
  if (!isPresent(range)) throw new ApiError(400, "ERR_INVALID_KEY", 'there is no "key": send one, a string');
  if (!isString(body, range)) {
    throw new ApiError(
      400,
      "ERR_INVALID_KEY",
      `key is ${excerptOf(body, range)}, which is not a string: send one in quotes`,
    );
  }
  key.setJsonString(body, range.start + 1, range.end - 1);
}
