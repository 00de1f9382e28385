/**
 * Parses durations as Go's `time.ParseDuration` does (go1.22, src/time/format.go), including the inputs that it
 * rejects: `[+-]?(digits[.digits]unit)+`, or `0` without a unit.
 */

export type ParsedDuration =
  | { readonly ok: true; readonly ns: bigint }
  | { readonly ok: false; readonly reason: string };

const unitNs: ReadonlyMap<string, bigint> = new Map([
  ["ns", 1n],
  ["us", 1_000n],
  ["\u00b5s", 1_000n], // micro sign
  ["\u03bcs", 1_000n], // Greek letter mu
  ["ms", 1_000_000n],
  ["s", 1_000_000_000n],
  ["m", 60_000_000_000n],
  ["h", 3_600_000_000_000n],
]);

const NS_PER_MS = 1_000_000n;
/** Go sums up without the sign and accepts 2^63 only with a minus: the smallest int64. */
const MAGNITUDE_LIMIT = 2n ** 63n;
const INT64_MAX = MAGNITUDE_LIMIT - 1n;
/** The most digits of an int64; longer runs overflow, and the number is not built. */
const MAX_INTEGER_DIGITS = 19;

const OUT_OF_RANGE = "out of range: at most about 292 years (2562047h)";
const INVALID = 'not a duration like "300ms", "1.5h" or "1h30m"';

/** Parses a Go duration. The result is within int64 nanoseconds. */
export function parseGoDuration(text: string): ParsedDuration {
  const negative = text.startsWith("-");
  let rest = negative || text.startsWith("+") ? text.slice(1) : text;
  if (rest === "0") return { ok: true, ns: 0n };
  if (rest === "") return rejected(INVALID);

  let totalNs = 0n;
  while (rest !== "") {
    const term = readTerm(rest);
    if (!term.ok) return term;
    totalNs += term.ns;
    if (totalNs > MAGNITUDE_LIMIT) return rejected(OUT_OF_RANGE);
    rest = rest.slice(term.length);
  }
  if (negative) return { ok: true, ns: -totalNs };
  return totalNs > INT64_MAX ? rejected(OUT_OF_RANGE) : { ok: true, ns: totalNs };
}

/** Whole milliseconds, rounded away from zero so that a duration is never shortened to nothing. A safe integer. */
export function durationToMs(ns: bigint): number {
  const awayFromZero = ns < 0n ? 1n - NS_PER_MS : NS_PER_MS - 1n;
  return Number((ns + awayFromZero) / NS_PER_MS);
}

type Term =
  | { readonly ok: true; readonly ns: bigint; readonly length: number }
  | { readonly ok: false; readonly reason: string };

/** Reads one number with its unit at the start of `text`. */
function readTerm(text: string): Term {
  const integerEnd = endOfDigits(text, 0);
  const hasPoint = text[integerEnd] === ".";
  const fractionStart = hasPoint ? integerEnd + 1 : integerEnd;
  const fractionEnd = hasPoint ? endOfDigits(text, fractionStart) : integerEnd;
  if (integerEnd === 0 && fractionEnd === fractionStart) return rejected(INVALID);

  const unitEnd = endOfUnit(text, fractionEnd);
  const unit = text.slice(fractionEnd, unitEnd);
  if (unit === "") return rejected(`${quote(text)} lacks a unit (ns, us, ms, s, m or h)`);
  const scaleNs = unitNs.get(unit);
  if (scaleNs === undefined) {
    return rejected(`${quote(unit)} is not a unit of time (ns, us, ms, s, m or h)`);
  }

  const whole = wholeNumber(text.slice(0, integerEnd));
  if (whole === null || whole * scaleNs > MAGNITUDE_LIMIT) return rejected(OUT_OF_RANGE);
  const ns = whole * scaleNs + fractionOf(text.slice(fractionStart, fractionEnd), scaleNs);
  return { ok: true, ns, length: unitEnd };
}

/** The value of a run of digits; null above 2^63. */
function wholeNumber(digits: string): bigint | null {
  const significant = digits.replace(/^0+/, "");
  if (significant.length > MAX_INTEGER_DIGITS) return null;
  const value = BigInt(significant || "0");
  return value > MAGNITUDE_LIMIT ? null : value;
}

/**
 * The nanoseconds of a fraction. Like Go, it keeps the digits that fit into an int64, ignores the rest, and multiplies
 * in double precision, so that the last nanosecond agrees.
 */
function fractionOf(digits: string, scaleNs: bigint): bigint {
  let kept = 0n;
  let divisor = 1;
  for (const digit of digits) {
    const next = kept * 10n + BigInt(digit);
    if (kept > INT64_MAX / 10n || next > MAGNITUDE_LIMIT) break;
    kept = next;
    divisor *= 10;
  }
  return BigInt(Math.trunc(Number(kept) * (Number(scaleNs) / divisor)));
}

function endOfDigits(text: string, from: number): number {
  let at = from;
  while (at < text.length && isDigit(text.charCodeAt(at))) at += 1;
  return at;
}

function endOfUnit(text: string, from: number): number {
  let at = from;
  while (at < text.length && text[at] !== "." && !isDigit(text.charCodeAt(at))) at += 1;
  return at;
}

function isDigit(code: number): boolean {
  return code >= 0x30 && code <= 0x39;
}

function rejected(reason: string): { readonly ok: false; readonly reason: string } {
  return { ok: false, reason };
}

/** Quotes the text for an error message, shortened to fit in one line. */
function quote(text: string): string {
  return JSON.stringify(text.length > 40 ? `${text.slice(0, 40)}…` : text);
}
