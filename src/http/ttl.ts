import { DEFAULT_TTL } from "../cache/cache.ts";
import { durationToMs, parseGoDuration } from "../config/duration.ts";
import { ApiError } from "./api-error.ts";
import { shortened } from "./body-members.ts";

const FORM = 'send a Go duration such as "300ms", "90s" or "1h30m", or "0" for an entry that never expires';

/** Far more than any duration needs; reading one of megabytes would keep the thread from other requests for seconds. */
const MAX_TTL_CHARACTERS = 100;

/**
 * A TTL as clients write it, in ms: absent (null) = `DEFAULT_TTL`, 0 = never expires. What is shorter than a
 * millisecond counts as one, also where it is less than a nanosecond.
 * Throws `ApiError` (400) for one that is negative or not a duration.
 */
export function parseTtl(text: string | null): number {
  if (text === null) return DEFAULT_TTL;
  if (text.length > MAX_TTL_CHARACTERS) throw invalidTtl(text, `longer than ${MAX_TTL_CHARACTERS} characters`);
  const parsed = parseGoDuration(text);
  if (!parsed.ok) throw invalidTtl(text, parsed.reason);
  if (!/[1-9]/.test(text)) return 0;
  if (text.startsWith("-")) throw invalidTtl(text, "negative");
  return Math.max(1, durationToMs(parsed.ns));
}

/** The `ttl` member of a JSON body, as raw text; null = there is none. */
export function parseJsonTtl(raw: string | null): number {
  if (raw === null || raw === "null") return DEFAULT_TTL;
  if (raw === "0") return 0;
  // Looked at before it is parsed: an array may be nested deeper than a parser's stack is.
  if (!raw.startsWith('"')) throw invalidTtl(raw, "not a string");
  return parseTtl(String(JSON.parse(raw)));
}

function invalidTtl(value: string, reason: string): ApiError {
  return new ApiError(
    400,
    "ERR_INVALID_TTL",
    `ttl is ${JSON.stringify(shortened(value))}, which is ${reason}: ${FORM}`,
  );
}
