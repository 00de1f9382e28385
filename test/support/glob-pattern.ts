/** Globs by regular expression: slow and plainly right, for tests to compare with. */
import type { KeyPattern } from "../../src/model/matcher.ts";

export function globPattern(text: string): KeyPattern {
  const expression = new RegExp(`^${translate(text)}$`, "su");
  return { text, matches: (bytes, start, end) => expression.test(bytes.toString("utf8", start, end)) };
}

function translate(glob: string): string {
  return glob.replace(/\\(.)|\*|\?|\[(\^?)((?:\\.|[^\]\\])*)\]|[^\\]/gsu, (part, escaped, negated, members) => {
    if (typeof escaped === "string") return quote(escaped);
    if (part === "*") return ".*";
    if (part === "?") return ".";
    if (typeof members === "string") {
      if (members === "") return negated === "^" ? "." : "(?!)";
      const quoted = members.replace(/\\(.)|([[\]^])/gsu, (_, escaped?: string, plain?: string) =>
        escaped === "-" ? "\\-" : quote(escaped ?? plain ?? ""),
      );
      return `[${negated}${quoted}]`;
    }
    return quote(part);
  });
}

function quote(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&");
}
