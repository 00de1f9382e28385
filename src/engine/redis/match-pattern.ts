/**
 * Converts a glob to a Redis MATCH pattern that covers it. Redis matches globs byte by byte, this API code point by
 * code point, and old servers take exponential time for many stars. So the pattern has at most two inner parts and
 * matches every key that the glob matches, and perhaps more: the literal text before the first wildcard, the longest
 * one in between, and the one at the end. The caller filters the results with `KeyPattern.matches`.
 *
 * @param prefix literal text before every key
 * @param glob the glob as the user wrote it; null = every key
 */
export function toMatchPattern(prefix: string, glob: string | null): string {
  if (glob === null) return `${escapeLiteral(prefix)}*`;
  const literals = literalParts(glob);
  const first = literals[0] ?? "";
  if (literals.length === 1) return escapeLiteral(prefix + first);
  const last = literals[literals.length - 1] ?? "";
  let longest = "";
  for (const literal of literals.slice(1, -1)) if (literal.length > longest.length) longest = literal;
  const middle = longest === "" ? "*" : `*${escapeLiteral(longest)}*`;
  return escapeLiteral(prefix + first) + middle + escapeLiteral(last);
}

/** The literal texts between the wildcards: one more than there are wildcards. */
function literalParts(glob: string): string[] {
  const parts: string[] = [];
  let literal = "";
  for (let at = 0; at < glob.length; at++) {
    const char = glob[at];
    if (char === "\\" && at + 1 < glob.length) {
      at++;
      literal += glob[at];
    } else if (char === "*" || char === "?") {
      parts.push(literal);
      literal = "";
    } else if (char === "[") {
      // Dialects differ in where a class ends, so nothing after it is used.
      parts.push(literal, "");
      return parts;
    } else {
      literal += char;
    }
  }
  parts.push(literal);
  return parts;
}

function escapeLiteral(text: string): string {
  return text.replace(/[\\*?[\]^-]/g, "\\$&");
}
