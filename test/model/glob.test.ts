import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { Glob, InvalidPatternError } from "../../src/model/glob.ts";

function matches(pattern: string, key: string): boolean {
  const bytes = Buffer.from(`<${key}>`);
  return Glob.parse(pattern).matches(bytes, 1, bytes.length - 1);
}

/** Redis' stringmatchlen, step by step as it stands in util.c, on code points instead of bytes. */
function redisMatches(p: readonly string[], s: readonly string[]): boolean {
  let [at, from] = [0, 0];
  const code = (character: string | undefined) => character?.codePointAt(0) ?? -1;
  while (at < p.length && from < s.length) {
    if (p[at] === "*") {
      while (p[at + 1] === "*") at++;
      if (at === p.length - 1) return true;
      for (let rest = from; rest < s.length; rest++) if (redisMatches(p.slice(at + 1), s.slice(rest))) return true;
      return false;
    }
    if (p[at] === "[") {
      at++;
      const not = p[at] === "^";
      if (not) at++;
      let match = false;
      for (; ; at++) {
        if (p.length - at >= 2 && p[at] === "\\") {
          at++;
          if (p[at] === s[from]) match = true;
        } else if (p[at] === "]") break;
        else if (at >= p.length) {
          at--;
          break;
        } else if (p.length - at >= 3 && p[at + 1] === "-") {
          const [low, high] = [code(p[at]), code(p[at + 2])].sort((one, other) => one - other);
          const character = code(s[from]);
          if (low !== undefined && high !== undefined && character >= low && character <= high) match = true;
          at += 2;
        } else if (p[at] === s[from]) match = true;
      }
      if (match === not) return false;
    } else if (p[at] !== "?") {
      if (p[at] === "\\" && p.length - at >= 2) at++;
      if (p[at] !== s[from]) return false;
    }
    from++;
    at++;
    if (from === s.length) {
      while (p[at] === "*") at++;
      break;
    }
  }
  return at === p.length && from === s.length;
}

describe("a glob", () => {
  test.each([
    ["*", "anything", true],
    ["user:*", "user:1", true],
    ["user:*", "user:", true],
    ["user:*", "users:1", false],
    ["user:1", "user:1", true],
    ["user:1", "user:12", false],
    ["*:1", "user:1", true],
    ["a*b*c", "a-b-b-c", true],
    ["a*b*c", "a-c-b", false],
    ["h?llo", "hällo", true],
    ["h?llo", "h😀llo", true],
    ["h??llo", "h😀llo", false],
    ["h[äö]llo", "höllo", true],
    ["h[^ä]llo", "hällo", false],
    ["[a-c]1", "b1", true],
    ["[c-a]1", "b1", true],
    ["[α-ω]", "λ", true],
    ["[a-]", "_", true],
    ["[]a", "a", false],
    ["[^]a", "xa", true],
    ["[ab", "b", true],
    ["[a\\]b]", "]", true],
    ["[\\^a]", "^", true],
    ["\\*", "*", true],
    ["\\*", "a", false],
    ["a\\", "a\\", true],
    ["**a**", "ba", true],
    ["*ß", "Straß", true],
    ["*?", "😀", true],
    ["?", "", false],
  ])("%p on %p: %p", (pattern, key, expected) => {
    expect(matches(pattern, key)).toBe(expected);
    if (key !== "") expect(redisMatches([...pattern], [...key])).toBe(expected);
  });

  test("agrees with Redis' matcher on whatever it is given", () => {
    const alphabet = fc.constantFrom("a", "b", "c", "*", "?", "[", "]", "^", "-", "\\", "ä", "😀");
    const text = fc.array(alphabet, { minLength: 1, maxLength: 9 });
    const key = fc.array(fc.constantFrom("a", "b", "c", "-", "]", "\\", "^", "ä", "😀"), {
      minLength: 1,
      maxLength: 9,
    });
    fc.assert(
      fc.property(text, key, (pattern, characters) => {
        expect(matches(pattern.join(""), characters.join(""))).toBe(redisMatches(pattern, characters));
      }),
      { numRuns: 50_000, seed: 7 },
    );
  });

  test("made to go back takes steps in proportion to both lengths, no more", () => {
    let reads = 0;
    const key = new Proxy(Buffer.alloc(1_000, "a"), {
      get: (target, name) => {
        reads++;
        return Reflect.get(target, name);
      },
    });
    expect(Glob.parse("a*a*a*a*a*a*a*a*b").matches(key, 0, 1_000)).toBe(false);
    expect(reads).toBeLessThan(17 * 1_000 * 4);
  });

  test("that is empty or too long is refused", () => {
    expect(() => Glob.parse("")).toThrow(InvalidPatternError);
    expect(() => Glob.parse("ä".repeat(513))).toThrow(InvalidPatternError);
  });
});
