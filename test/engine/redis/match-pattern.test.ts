import { expect, test } from "bun:test";
import fc from "fast-check";
import { toMatchPattern } from "../../../src/engine/redis/match-pattern.ts";
import { globPattern } from "../../support/glob-pattern.ts";

test.each([
  ["", null, "*"],
  ["app[1]:", null, "app\\[1\\]:*"],
  ["", "user:1", "user:1"],
  ["", "user:*", "user:*"],
  ["p:", "*", "p:*"],
  ["", "*:profile:*", "*:profile:*"],
  ["", "a*bc*d*e", "a*bc*e"],
  ["", "a*a*a*a*b", "a*a*b"],
  ["", "a?b", "a*b"],
  ["", "a\\*b*", "a\\*b*"],
  ["", "user:[0-9]:x", "user:*"],
  ["", "ä?ü", "ä*ü"],
])("under %j the glob %j asks the server for %j", (prefix, glob, expected) => {
  expect(toMatchPattern(prefix, glob)).toBe(expected);
});

test("what the server is asked for contains whatever the glob matches", () => {
  const piece = fc.constantFrom(
    "a",
    "b",
    "ab",
    "é",
    "🙂",
    "*",
    "?",
    "\\*",
    "\\?",
    "\\[",
    "[ab]",
    "[^a]",
    "[a-c]",
    "\\\\",
    "-",
    "]",
  );
  const text = fc.array(fc.constantFrom("a", "b", "c", "é", "🙂", "*", "?", "[", "]", "\\", "-"), { maxLength: 8 });
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 6 }), text, (pieces, chars) => {
      const key = chars.join("");
      const bytes = Buffer.from(key);
      const glob = pieces.join("");
      if (!globPattern(glob).matches(bytes, 0, bytes.length)) return true;
      return matchesAsRedisDoes(toMatchPattern("", glob), key);
    }),
    { numRuns: 20_000, seed: 7 },
  );
});

/** The subset that `toMatchPattern` gives: literals with escapes, and stars. */
function matchesAsRedisDoes(pattern: string, key: string): boolean {
  const source = pattern.replace(/\\(.)|\*|[^\\*]/gsu, (part, escaped) => {
    if (part === "*") return ".*";
    return (typeof escaped === "string" ? escaped : part).replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&");
  });
  return new RegExp(`^${source}$`, "su").test(key);
}
