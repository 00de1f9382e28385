import { expect, test } from "bun:test";
import fc from "fast-check";
import { durationToMs, parseGoDuration } from "../../../src/config/duration.ts";
import { parseJsonTtl, parseTtl } from "../../../src/http/rest/ttl.ts";
import { ApiError } from "../../../src/http/transport/api-error.ts";

/** Ms, or null where the TTL is refused. */
function read(parse: (text: string) => number, text: string): number | null {
  try {
    return parse(text);
  } catch (error) {
    if (error instanceof ApiError && error.code === "ERR_INVALID_TTL") return null;
    throw error;
  }
}

/** What Go reads, in ms; what is above zero stays so, however little it is. */
function expectedMs(duration: string): number | null {
  const parsed = parseGoDuration(duration);
  if (!parsed.ok) return null;
  if (!/[1-9]/.test(duration)) return 0;
  return duration.startsWith("-") ? null : Math.max(1, durationToMs(parsed.ns));
}

test("a TTL of any form is what Go reads, in ms, where that is not negative", () => {
  const number = fc.oneof(fc.nat(1_000).map(String), fc.stringMatching(/^[0-9.+-]{0,12}$/));
  const unit = fc.constantFrom("ns", "us", "µs", "ms", "s", "m", "h", "", "d", " s", "S");
  const text = fc.array(fc.tuple(number, unit), { minLength: 1, maxLength: 3 }).map((parts) => parts.flat().join(""));
  fc.assert(
    fc.property(text, (duration) => {
      const expected = expectedMs(duration);
      expect(read(parseTtl, duration)).toBe(expected);
      expect(read(parseJsonTtl, JSON.stringify(duration))).toBe(expected);
    }),
    { numRuns: 20_000, seed: 11 },
  );
});
