import { DEFAULT_TTL } from "../cache/cache.ts";
import { durationToMs, parseGoDuration } from "../config/duration.ts";
import { ApiError } from "./api-error.ts";
import { quoted } from "./excerpt.ts";

/** Digits of a plain duration: with any unit it stays a safe integer in ms. */
const MOST_PLAIN_DIGITS = 6;

/** More than any TTL needs. A longer one, of parts that add nothing, would hold up the thread while it is read. */
const MAX_TTL_CHARACTERS = 100;
/** The longest way to write such a TTL in JSON: in quotes, each character as an escape like `\u0031`. */
const MAX_WRITTEN_CHARACTERS = 2 + MAX_TTL_CHARACTERS * 6;
const TOO_LONG = `longer than ${MAX_TTL_CHARACTERS} characters`;

const FORM = 'send a Go duration such as "300ms", "90s" or "1h30m", or "0" for an entry that never expires';

/**
 * A TTL as clients write it, in ms: absent (null) = `DEFAULT_TTL`, 0 = never expires. What is shorter than a
 * millisecond counts as one.
 * Throws `ApiError` (400) for one that is negative, not a duration, or longer than `MAX_TTL_CHARACTERS`.
 */
export function parseTtl(text: string | null): number {
  if (text === null) return DEFAULT_TTL;
  const plainMs = plainDurationMs(text);
  if (plainMs >= 0) return plainMs;
  if (text.length > MAX_TTL_CHARACTERS) throw invalidTtl(text, TOO_LONG);
  const parsed = parseGoDuration(text);
  if (!parsed.ok) throw invalidTtl(text, parsed.reason);
  if (parsed.ns < 0n) throw invalidTtl(text, "negative");
  return durationToMs(parsed.ns);
}

/** The `ttl` member of a JSON body, as raw text; null = there is none. */
export function parseJsonTtl(raw: string | null): number {
  if (raw === null || raw === "null") return DEFAULT_TTL;
  if (raw === "0") return 0;
  if (!raw.startsWith('"')) throw invalidTtl(raw, "not a string");
  if (raw.length > MAX_WRITTEN_CHARACTERS) throw invalidTtl(raw.slice(1, -1), TOO_LONG);
  const text: unknown = raw.includes("\\") ? JSON.parse(raw) : raw.slice(1, -1);
  return parseTtl(String(text));
}

/** The form in which nearly all TTLs come, such as `60s`, without a detour through 64 bits; -1 = another form. */
function plainDurationMs(text: string): number {
  const unitMs = unitMsOf(text);
  const digits = text.length - (text.endsWith("ms") ? 2 : 1);
  if (unitMs === 0 || digits < 1 || digits > MOST_PLAIN_DIGITS) return -1;
  let value = 0;
  for (let at = 0; at < digits; at++) {
    const digit = text.charCodeAt(at) - 0x30;
    if (digit < 0 || digit > 9) return -1;
    value = value * 10 + digit;
  }
  return value * unitMs;
}

/** 0 = a unit that is less usual, or none. */
function unitMsOf(text: string): number {
  if (text.endsWith("ms")) return 1;
  switch (text.charCodeAt(text.length - 1)) {
    case 0x73:
      return 1_000;
    case 0x6d:
      return 60_000;
    case 0x68:
      return 3_600_000;
    default:
      return 0;
  }
}

function invalidTtl(value: string, reason: string): ApiError {
  return new ApiError(400, "ERR_INVALID_TTL", `ttl is ${quoted(value)}, which is ${reason}: ${FORM}`);
}
