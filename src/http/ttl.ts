import { DEFAULT_TTL } from "../cache/cache.ts";
import { durationToMs, parseGoDuration } from "../config/duration.ts";
import { ApiError } from "./api-error.ts";

const FORM = 'send a Go duration such as "300ms", "90s" or "1h30m", or "0" for an entry that never expires';

/**
 * A TTL as clients write it, in ms: absent (null) = `DEFAULT_TTL`, 0 = never expires. What is shorter than a
 * millisecond counts as one.
 * Throws `ApiError` (400) for one that is negative or not a duration.
 */
export function parseTtl(text: string | null): number {
  if (text === null) return DEFAULT_TTL;
  const parsed = parseGoDuration(text);
  if (!parsed.ok) throw invalidTtl(text, parsed.reason);
  if (parsed.ns < 0n) throw invalidTtl(text, "negative");
  return durationToMs(parsed.ns);
}

/** The `ttl` member of a JSON body, as raw text; null = there is none. */
export function parseJsonTtl(raw: string | null): number {
  if (raw === null || raw === "null") return DEFAULT_TTL;
  if (raw === "0") return 0;
  const value: unknown = JSON.parse(raw);
  if (typeof value !== "string") throw invalidTtl(raw, "not a string");
  return parseTtl(value);
}

function invalidTtl(value: string, reason: string): ApiError {
  return new ApiError(400, "ERR_INVALID_TTL", `ttl is ${JSON.stringify(value)}, which is ${reason}: ${FORM}`);
}
