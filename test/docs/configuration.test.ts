import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { variablesOf } from "../../src/config/option.ts";
import { options } from "../../src/config/options.ts";

const guide = readFileSync(join(import.meta.dir, "..", "..", "docs", "guide", "configuration.md"), "utf8");

/** The rows of the table: variables, flags, default. */
const rows = guide.split("\n").flatMap((line) => {
  const [variable = "", flags, fallback] = line
    .split("|")
    .slice(1)
    .map((cell) => cell.trim());
  return /^`[A-Z_]+`(, `[A-Z_]+`)*$/.test(variable) ? [{ variable, flags, fallback }] : [];
});

describe("the guide to configuration", () => {
  test("lists exactly the variables, flags and defaults of the table of options, in its order", () => {
    expect(rows).toEqual(
      Object.values(options).map((option) => ({
        variable: variablesOf(option)
          .map((name) => `\`${name}\``)
          .join(", "),
        flags: option.flags.map((flag) => `\`--${flag}\``).join(", "),
        fallback: option.defaultText,
      })),
    );
  });

  test("names no variable of ours that does not exist", () => {
    const known = Object.values(options).map((option): string => option.env);
    const named = [...new Set(guide.match(/SERV_CACHE_[A-Z_]*[A-Z]/g))];
    expect(named.filter((name) => !known.includes(name))).toEqual([]);
  });
});
