/** What an option is, and how texts become values. */

import { durationToMs, parseGoDuration } from "./duration.ts";

/** What defaults and percentages depend on. */
export interface Machine {
  /** What this process may use, see `availableMemoryBytes`. */
  readonly memoryBytes: number;
  /** Processors that this process may use. */
  readonly cores: number;
}

export interface Option<T> {
  /** The environment variable. */
  readonly env: string;
  /** A second variable of the same meaning, which counts where the first one is not set. */
  readonly otherEnv?: string;
  /** The flags of the same meaning, without dashes; the first one is shown in the help. */
  readonly flags: readonly [string, ...string[]];
  /** What a value looks like, for the help. */
  readonly placeholder: string;
  readonly meaning: string;
  /** The default, for people. */
  readonly defaultText: string;
  defaultValue(machine: Machine): T;
  /** What is expected of a value, as the end of "expected …". */
  readonly expected: string;
  /** Undefined where the value can't be used. */
  parse(text: string, machine: Machine): T | undefined;
}

/** The variables that set it, the first one before the others. */
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
