/** The description of an option, and the parsing of texts into values. */

import { durationToMs, parseGoDuration } from "./duration.ts";

/** The machine that defaults and percentages depend on. */
export interface Machine {
  /** The memory that this process may use; see `availableMemoryBytes`. */
  readonly memoryBytes: number;
  /** Processors that this process may use. */
  readonly cores: number;
}

export interface Option<T> {
  /** The environment variable. */
  readonly env: string;
  /** A second variable of the same meaning, used if the first one is not set. */
  readonly otherEnv?: string;
  /** The flags of the same meaning, without dashes; the help shows the first one. */
  readonly flags: readonly [string, ...string[]];
  /** The form of a value, shown in the help. */
  readonly placeholder: string;
  readonly meaning: string;
  /** The default as text. */
  readonly defaultText: string;
  defaultValue(machine: Machine): T;
  /** The expected values, as the end of "expected …". */
  readonly expected: string;
  /** Undefined if the text is invalid. */
  parse(text: string, machine: Machine): T | undefined;
}

/** The variables that set the option, the preferred one first. */
export function variablesOf({ env, otherEnv }: Pick<Option<unknown>, "env" | "otherEnv">): readonly string[] {
  return otherEnv === undefined ? [env] : [env, otherEnv];
}

export function within(value: number | null, min: number, max: number): number | undefined {
  return value !== null && value >= min && value <= max ? value : undefined;
}

export function parseWhole(text: string): number | null {
  return /^\d{1,9}$/.test(text) ? Number(text) : null;
}

export function parseMs(text: string): number | null {
  const duration = parseGoDuration(text);
  return duration.ok ? durationToMs(duration.ns) : null;
}
