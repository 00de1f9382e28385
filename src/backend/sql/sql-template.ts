/**
 * The user's own SQL: `:name` and `:1` become bound parameters of the dialect, once, when the node starts. What stands
 * in string literals, quoted names and comments is left alone, and so are `::casts`, `:=` and array slices.
 */
import { BackendConfigError } from "../backend.ts";

type Placeholder = "key" | "value" | "version" | "content_type" | { readonly part: number };

export interface SqlTemplate {
  readonly text: string;
  /** What to bind, in order. */
  readonly parameters: readonly Parameter[];
}

interface Parameter {
  readonly what: Placeholder;
  /** The column that the text compares it with: `id = :2`, `:2 = u.id`, `id IN (:2)`; null = none that can be seen. */
  readonly column: string | null;
  /** The type in `CAST(:2 AS integer)`, in lower case; empty = it is not cast so. */
  readonly castTo: string;
}

export interface TemplateRules {
  /** The variable that the text came from, for errors. */
  readonly variable: string;
  readonly dialect: "postgres" | "mysql" | "sqlite";
  readonly allowed: readonly ("key" | "value" | "version" | "content_type")[];
}

/** What is not looked into, by dialect; the first that matches at a place wins. An open end runs to the text's end. */
const OPAQUE = {
  postgres: [
    /[eE]'(?:[^'\\]|\\[\s\S]|'')*(?:'|$)/y,
    /'(?:[^']|'')*(?:'|$)/y,
    /"(?:[^"]|"")*(?:"|$)/y,
    /\$([A-Za-z_][A-Za-z0-9_]*)?\$[\s\S]*?(?:\$\1\$|$)/y,
    /--[^\n]*/y,
    /\/\*[\s\S]*?(?:\*\/|$)/y,
  ],
  mysql: [
    /'(?:[^'\\]|\\[\s\S]|'')*(?:'|$)/y,
    /"(?:[^"\\]|\\[\s\S]|"")*(?:"|$)/y,
    /`(?:[^`]|``)*(?:`|$)/y,
    /--(?=\s|$)[^\n]*/y,
    /#[^\n]*/y,
    /\/\*[\s\S]*?(?:\*\/|$)/y,
  ],
  sqlite: [
    /'(?:[^']|'')*(?:'|$)/y,
    /"(?:[^"]|"")*(?:"|$)/y,
    /`(?:[^`]|``)*(?:`|$)/y,
    /\[[^\]]*(?:\]|$)/y,
    /--[^\n]*/y,
    /\/\*[\s\S]*?(?:\*\/|$)/y,
  ],
} as const;

const WORD = /[A-Za-z_][A-Za-z0-9_]*/y;
const NUMBER = /[0-9]+(?:\.[0-9]*)?/y;
const CAST = /::|:=/y;
const PLACEHOLDER = /:([A-Za-z_][A-Za-z0-9_]*|[1-9][0-9]{0,3})/y;
/** A slice `a[1:2]` or `a[i:j]` is told from a placeholder by what stands before the colon. */
const BEFORE_SLICE = /[A-Za-z0-9_\])"]$/;
const COLUMN = '(?:[\\p{L}_][\\p{L}\\p{N}_$]*|`[^`]+`|"[^"]+")';
const COMPARED_BEFORE = new RegExp(`(${COLUMN})\\s*(?:[=<>]|<=|>=|<>|!=|<=>|IN\\s*\\((?:\\s*\\?\\s*,)*)\\s*$`, "iu");
const COMPARED_AFTER = new RegExp(`^\\s*(?:[=<>]|<=|>=|<>|!=|<=>)\\s*(?:${COLUMN}\\s*\\.\\s*)*(${COLUMN})`, "iu");
const CAST_BEFORE = /\bCAST\s*\(\s*$/i;
const CAST_AFTER = /^\s+AS\s+([A-Z]+)/i;
const OWN_PARAMETER = { postgres: /\$[0-9]/y, mysql: /\?/y, sqlite: /[?@$]/y } as const;

/** Throws `BackendConfigError`, which says what is wrong and where. */
export function parseTemplate(source: string, rules: TemplateRules): SqlTemplate {
  const parameters: Parameter[] = [];
  let text = "";
  let position = 0;
  const match = (pattern: RegExp): RegExpExecArray | null => {
    pattern.lastIndex = position;
    return pattern.exec(source);
  };
  while (position < source.length) {
    const kept = firstMatch(OPAQUE[rules.dialect], match) ?? match(CAST) ?? match(WORD) ?? match(NUMBER);
    if (kept !== null) {
      text += kept[0];
      position += kept[0].length;
      continue;
    }
    if (match(OWN_PARAMETER[rules.dialect]) !== null) {
      throw new BackendConfigError(
        `${rules.variable}: "${source.slice(position, position + 2)}" at ${position} is a parameter that nothing is bound to; use :key, :1, :2 …`,
      );
    }
    const found = BEFORE_SLICE.test(text) ? null : match(PLACEHOLDER);
    if (found === null) {
      text += source.charAt(position);
      position += 1;
      continue;
    }
    const after = source.slice(position + found[0].length);
    const compared = COMPARED_BEFORE.exec(text) ?? COMPARED_AFTER.exec(after);
    parameters.push({
      what: placeholder(found[1] ?? "", rules),
      column: compared?.[1]?.replace(/^[`"]|[`"]$/g, "") ?? null,
      castTo: CAST_BEFORE.test(text) ? (CAST_AFTER.exec(after)?.[1] ?? "").toLowerCase() : "",
    });
    text += rules.dialect === "postgres" ? `$${parameters.length}` : "?";
    position += found[0].length;
  }
  text = text.trim().replace(/;$/, "");
  if (text === "") throw new BackendConfigError(`${rules.variable} is empty; give one SQL statement`);
  return { text, parameters };
}

function firstMatch(
  patterns: readonly RegExp[],
  match: (pattern: RegExp) => RegExpExecArray | null,
): RegExpExecArray | null {
  for (const pattern of patterns) {
    const found = match(pattern);
    if (found !== null) return found;
  }
  return null;
}

function placeholder(name: string, rules: TemplateRules): Placeholder {
  if (/^[0-9]/.test(name)) return { part: Number(name) };
  const known = rules.allowed.find((allowed) => allowed === name);
  if (known !== undefined) return known;
  throw new BackendConfigError(
    `${rules.variable}: placeholder :${name} is not known here; use ${rules.allowed.map((allowed) => `:${allowed}`).join(", ")}, or :1, :2 … for the parts of the key`,
  );
}
