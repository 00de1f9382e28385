/** Constructors for the usual kinds of options. */

import { parseByteSize } from "./byte-size.ts";
import { type Option, parseMs, parseWhole, within } from "./option.ts";

type Name = { readonly env: string; readonly flag: string; readonly meaning: string };

/** A non-empty text; null = not set. */
export function textOption(
  { env, flag, meaning }: Name,
  placeholder: string,
  defaultText = "none",
): Option<string | null> {
  return {
    ...{ env, flags: [flag], placeholder, meaning, defaultText },
    defaultValue: () => null,
    expected: "a text that is not empty",
    parse: (given) => (given === "" ? undefined : given),
  };
}

export function booleanOption({ env, flag, meaning }: Name, byDefault: boolean): Option<boolean> {
  return {
    ...{ env, flags: [flag], placeholder: "BOOL", meaning, defaultText: String(byDefault) },
    defaultValue: () => byDefault,
    expected: "true or false",
    parse: (given) => (given === "true" ? true : given === "false" ? false : undefined),
  };
}

/** One of a list of words. */
export function wordOption<T extends string>(
  { env, flag, meaning }: Name,
  words: readonly [T, ...T[]],
  byDefault: T,
): Option<T> {
  return {
    ...{ env, flags: [flag], placeholder: "MODE", meaning, defaultText: byDefault },
    defaultValue: () => byDefault,
    expected: words.join(" or "),
    parse: (given) => words.find((word) => word === given),
  };
}

/** A Go duration in ms. `offWord`, if allowed, means 0. */
export function durationOption(
  { env, flag, meaning }: Name,
  [defaultMs, defaultText]: readonly [number, string],
  bounds: { readonly minMs: number; readonly maxMs: number; readonly range: string; readonly offWord?: string },
): Option<number> {
  const { minMs, maxMs, range, offWord } = bounds;
  return {
    ...{ env, flags: [flag], placeholder: "DURATION", meaning, defaultText },
    defaultValue: () => defaultMs,
    expected: `${offWord === undefined ? "" : `${offWord}, or `}a duration ${range}`,
    parse: (given) => (given === offWord ? 0 : within(parseMs(given), minMs, maxMs)),
  };
}

export function numberOption(
  { env, flag, meaning }: Name,
  byDefault: number,
  min: number,
  max: number,
): Option<number> {
  return {
    ...{ env, flags: [flag], placeholder: "N", meaning, defaultText: String(byDefault) },
    defaultValue: () => byDefault,
    expected: `a whole number from ${min} to ${max}`,
    parse: (given) => within(parseWhole(given), min, max),
  };
}

/** A size in bytes; a percentage is a share of the memory that the process may use. */
export function sizeOption(
  { env, flag, meaning }: Name,
  [defaultBytes, defaultText]: readonly [number, string],
  bounds: { readonly minBytes: number; readonly maxBytes: number; readonly range: string },
): Option<number> {
  return {
    ...{ env, flags: [flag], placeholder: "SIZE", meaning, defaultText },
    defaultValue: () => defaultBytes,
    expected: `a size ${bounds.range}`,
    parse: (given, machine) => within(parseByteSize(given, machine.memoryBytes), bounds.minBytes, bounds.maxBytes),
  };
}
