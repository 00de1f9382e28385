import { ApiError } from "../transport/api-error.ts";
import { isPresent, isString, type JsonRange } from "./json-scan.ts";
import type { KeyBuffer } from "./key-buffer.ts";

const MAX_QUOTED_CHARACTERS = 40;

/** The raw text of a member; null = absent. */
export function textOf(body: Buffer, range: JsonRange): string | null {
  return isPresent(range) ? body.toString("utf8", range.start, range.end) : null;
}

/** Shortens a client's text for a message, so that the answer to megabytes is one line. */
export function shortened(text: string): string {
  if (text.length <= MAX_QUOTED_CHARACTERS) return text;
  // Half of a surrogate pair is not a character.
  return `${text.slice(0, MAX_QUOTED_CHARACTERS).replace(/[\ud800-\udbff]$/, "")}…`;
}

/**
 * Reads the member `key` of a body. Throws `ApiError` (400) if it is not a string, `BadKeyError` if it is not a valid
 * key.
 */
export function readKey(body: Buffer, range: JsonRange, key: KeyBuffer): void {
  if (!isPresent(range)) throw new ApiError(400, "ERR_INVALID_KEY", 'there is no "key": send one, a string');
  if (!isString(body, range)) {
    const text = shortened(body.toString("utf8", range.start, range.end));
    throw new ApiError(400, "ERR_INVALID_KEY", `key is ${text}, which is not a string: send one in quotes`);
  }
  key.setJsonString(body, range.start + 1, range.end - 1);
}
