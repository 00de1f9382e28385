/** The longest pattern, in bytes of UTF-8. */
import type { KeyPattern } from "./matcher.ts";

export const MAX_PATTERN_BYTES = 1024;

/** A pattern that can't be used. */
export class InvalidPatternError extends Error {
  readonly code = "ERR_INVALID_PATTERN";
}

/** What one place of a pattern takes: a byte (0 to 255), one of the below, or a class (`FIRST_CLASS` and up). */
const ANY = 256;
const STAR = 257;
const FIRST_CLASS = 258;

interface CharacterClass {
  readonly negated: boolean;
  /** First and last code point of each range. */
  readonly ranges: readonly (readonly [number, number])[];
}

/**
 * A Redis glob: `*` `?` `[abc]` `[^a]` `[a-z]` `\x`, with the corners of Redis' own matcher (stringmatchlen in util.c):
 * a class ends at the first `]`, even an empty one; one without end reaches to the end of the pattern; a range may be
 * written backwards; `\` at the end stands for itself. Unlike there, `?` and classes take code points, not bytes.
 *
 * Matching goes back to the last star only, so its time is at most the product of the two lengths.
 */
export class Glob implements KeyPattern {
  private readonly places: Int32Array;
  private readonly classes: readonly CharacterClass[];
  /** Every key that matches begins with these bytes … */
  private readonly prefix: Buffer;
  /** … and after them anything goes, or nothing, or the places decide. */
  private readonly rest: "anything" | "nothing" | "places";

  /** Throws `InvalidPatternError` for an empty or too long pattern. */
  static parse(text: string): Glob {
    const bytes = Buffer.byteLength(text);
    if (bytes === 0) throw new InvalidPatternError("the pattern is empty: send one such as user:*, or * for every key");
    if (bytes > MAX_PATTERN_BYTES) {
      throw new InvalidPatternError(`the pattern has ${bytes} bytes: send at most ${MAX_PATTERN_BYTES}`);
    }
    return new Glob(text);
  }

  private constructor(readonly text: string) {
    const { places, classes } = compile(text);
    const special = places.findIndex((place) => place >= ANY);
    this.prefix = Buffer.from(special < 0 ? places : places.slice(0, special));
    if (special < 0) this.rest = "nothing";
    else this.rest = places[special] === STAR && special === places.length - 1 ? "anything" : "places";
    this.places = Int32Array.from(places);
    this.classes = classes;
  }

  matches(bytes: Buffer, start: number, end: number): boolean {
    const { prefix } = this;
    if (end - start < prefix.length) return false;
    for (let at = 0; at < prefix.length; at++) {
      if (bytes[start + at] !== prefix[at]) return false;
    }
    if (this.rest === "anything") return true;
    if (this.rest === "nothing") return end - start === prefix.length;
    return this.matchPlaces(bytes, start + prefix.length, end);
  }

  private matchPlaces(bytes: Buffer, start: number, end: number): boolean {
    const { places } = this;
    let place = this.prefix.length;
    let at = start;
    /** Where to go on after a mismatch: behind the last star, with one more character taken by it. */
    let starPlace = -1;
    let starAt = 0;
    for (;;) {
      const wanted = places[place];
      if (wanted === STAR) {
        starPlace = ++place;
        starAt = at;
        if (starPlace === places.length) return true;
        continue;
      }
      if (at === end) return wanted === undefined;
      const after = wanted === undefined ? -1 : this.take(wanted, bytes, at, end);
      if (after >= 0) {
        at = after;
        place++;
        continue;
      }
      if (starPlace < 0) return false;
      starAt = characterEnd(bytes, starAt, end);
      at = starAt;
      place = starPlace;
    }
  }

  /** The position behind what one place takes, or -1. */
  private take(wanted: number, bytes: Buffer, at: number, end: number): number {
    if (wanted < ANY) return bytes[at] === wanted ? at + 1 : -1;
    const after = characterEnd(bytes, at, end);
    if (wanted === ANY) return after;
    const characterClass = this.classes[wanted - FIRST_CLASS];
    if (characterClass === undefined) throw new Error("a class that was not compiled");
    const codePoint = codePointOf(bytes, at, after);
    const inside = characterClass.ranges.some(([first, last]) => codePoint >= first && codePoint <= last);
    return inside === characterClass.negated ? -1 : after;
  }
}

function compile(text: string): { places: number[]; classes: CharacterClass[] } {
  const characters = [...text];
  const places: number[] = [];
  const classes: CharacterClass[] = [];
  for (let at = 0; at < characters.length; at++) {
    const character = characters[at] ?? "";
    if (character === "*") {
      if (places.at(-1) !== STAR) places.push(STAR);
    } else if (character === "?") {
      places.push(ANY);
    } else if (character === "[") {
      const { characterClass, end } = compileClass(characters, at + 1);
      places.push(FIRST_CLASS + classes.push(characterClass) - 1);
      at = end;
    } else {
      if (character === "\\" && at + 1 < characters.length) at++;
      places.push(...Buffer.from(characters[at] ?? ""));
    }
  }
  return { places, classes };
}

/** Reads a class from behind its `[`; `end` is where its `]` is, or the pattern's end. */
function compileClass(characters: readonly string[], start: number): { characterClass: CharacterClass; end: number } {
  const negated = characters[start] === "^";
  const ranges: [number, number][] = [];
  let at = negated ? start + 1 : start;
  for (; at < characters.length; at++) {
    const left = characters.length - at;
    const character = characters[at] ?? "";
    if (character === "\\" && left >= 2) {
      at++;
      ranges.push([codePoint(characters[at]), codePoint(characters[at])]);
    } else if (character === "]") {
      break;
    } else if (left >= 3 && characters[at + 1] === "-") {
      const [one, other] = [codePoint(character), codePoint(characters[at + 2])];
      ranges.push([Math.min(one, other), Math.max(one, other)]);
      at += 2;
    } else {
      ranges.push([codePoint(character), codePoint(character)]);
    }
  }
  return { characterClass: { negated, ranges }, end: at };
}

function codePoint(character: string | undefined): number {
  return character?.codePointAt(0) ?? -1;
}

/** The position behind the character that starts at `at`. */
function characterEnd(bytes: Buffer, at: number, end: number): number {
  let after = at + 1;
  while (after < end && ((bytes[after] ?? 0) & 0xc0) === 0x80) after++;
  return after;
}

function codePointOf(bytes: Buffer, at: number, after: number): number {
  const lead = bytes[at] ?? 0;
  if (after - at === 1) return lead;
  let value = lead & (0xff >> (after - at + 1));
  for (let next = at + 1; next < after; next++) value = (value << 6) | ((bytes[next] ?? 0) & 0x3f);
  return value;
}
