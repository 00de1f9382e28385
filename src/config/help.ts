import { variablesOf } from "./option.ts";
import { options } from "./options.ts";

const LINE_LENGTH = 100;
const INDENT = "      ";

/** The text of `serve --help`: every flag and variable with its meaning and default, from the option table. */
export function serveHelp(): string {
  const entries = Object.values(options).map((option) => {
    const flags = option.flags.map((flag) => `--${flag} ${option.placeholder}`).join(", ");
    const text = wrap(`${option.meaning}. Default: ${option.defaultText}.`);
    return `  ${flags}   (${variablesOf(option).join(", ")})\n${text}`;
  });
  return `Usage: servcache serve [flags]

Starts a node that serves the REST API. A flag wins over its environment variable.

${entries.join("\n")}
  --help
${INDENT}Prints this and exits.
`;
}

function wrap(text: string): string {
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(" ")) {
    if (line !== "" && INDENT.length + line.length + 1 + word.length > LINE_LENGTH) {
      lines.push(INDENT + line);
      line = word;
    } else {
      line = line === "" ? word : `${line} ${word}`;
    }
  }
  return [...lines, INDENT + line].join("\n");
}
