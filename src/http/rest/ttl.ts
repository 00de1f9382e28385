import { DEFAULT_TTL } from "../../cache/cache.ts";
import { durationToMs, parseGoDuration } from "../../config/duration.ts";
import { ApiError } from "../transport/api-error.ts";
import { shortened } from "./body-members.ts";

/** Digits of a plain duration: with any unit it stays a safe integer in ms. */
const MOST_PLAIN_DIGITS = 6;

const FORM = 'send a Go duration such as "300ms", "90s" or "1h30m", or "0" for an entry that never expires';

/** Far more than any duration needs; parsing megabytes would block the thread for seconds. */
const MAX_TTL_CHARACTERS = 100;

/**
 * Parses a client's TTL to ms: absent (null) = `DEFAULT_TTL`, 0 = never expires. A positive TTL below one millisecond
 * counts as one. Throws `ApiError` (400) if it is negative or not a duration.
 */
export function parseTtl(text: string | null): number {
  if (text === null) return DEFAULT_TTL;
  const plainMs = plainDurationMs(text);
  if (plainMs >= 0) return plainMs;
  if (text.length > MAX_TTL_CHARACTERS) throw invalidTtl(text, `longer than ${MAX_TTL_CHARACTERS} characters`);
  const parsed = parseGoDuration(text);
  if (!parsed.ok) throw invalidTtl(text, parsed.reason);
  if (!/[1-9]/.test(text)) return 0;
  if (text.startsWith("-")) throw invalidTtl(text, "negative");
  return Math.max(1, durationToMs(parsed.ns));
}

/** Parses the `ttl` member of a JSON body from its raw text; null = absent. */
export function parseJsonTtl(raw: string | null): number {
  if (raw === null || raw === "null") return DEFAULT_TTL;
  if (raw === "0") return 0;
  // Checked before parsing: an array may be nested deeper than a parser's stack.
  if (!raw.startsWith('"')) throw invalidTtl(raw, "not a string");
  return parseTtl(raw.includes("\\") ? String(JSON.parse(raw)) : raw.slice(1, -1));
}

/** The ms of the usual form, such as `60s`, without 64-bit arithmetic; -1 = another form. */
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

/** 0 = an unusual unit, or none. */
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
  return new ApiError(
    400,
    "ERR_INVALID_TTL",
    `ttl is ${JSON.stringify(shortened(value))}, which is ${reason}: ${FORM}`,
  );
}
