/** Reads the command line as Go's `flag` package does: `--flag value`, `--flag=value`, and the same with one dash. */

import { ConfigError } from "./errors.ts";
import { options } from "./options.ts";

/** The text of each given flag, by its name without dashes. */
export type FlagValues = ReadonlyMap<string, string>;

/** Throws `ConfigError` for an unknown flag, a flag without a value, a repeated flag, and any other argument. */
export function readFlags(args: readonly string[]): FlagValues {
  const known = knownFlags();
  const values = new Map<string, string>();
  const given = new Set<string>();
  for (let at = 0; at < args.length; at += 1) {
    const arg = args[at] ?? "";
    const [, name, inline] = /^--?([a-z][a-z0-9-]*)(?:=(.*))?$/s.exec(arg) ?? [];
    const option = name === undefined ? undefined : known.get(name);
    if (name === undefined || option === undefined) {
      throw new ConfigError(`${JSON.stringify(arg)} is not a flag of serve; see servcache serve --help`);
    }
    if (given.has(option)) throw new ConfigError(`--${name} is given, but ${option} is already set by another flag`);
    given.add(option);
    if (inline === undefined) at += 1;
    const value = inline ?? args[at];
    if (value === undefined) throw new ConfigError(`--${name} lacks its value, as in --${name}=…`);
    values.set(name, value);
  }
  return values;
}

/** Maps the name of a flag to its variable: flags of one variable exclude each other. */
function knownFlags(): ReadonlyMap<string, string> {
  const flags = new Map<string, string>();
  for (const option of Object.values(options)) for (const flag of option.flags) flags.set(flag, option.env);
  return flags;
}
