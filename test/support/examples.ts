/**
 * Examples in Markdown: `console` blocks of `$ command` lines, each followed by what it prints. Those of
 * `console sqlite` blocks are for a node with an SQLite database behind it, those of `console peers` for two nodes.
 * `…` in an expected line stands for any text within the line, nothing included.
 */

export type ExampleNode = "plain" | "sqlite" | "peers";

export interface Example {
  readonly node: ExampleNode;
  /** Line of the command in its file, from 1. */
  readonly line: number;
  readonly command: string;
  readonly expected: readonly string[];
}

const PROMPT = "$ ";
const NODES: Readonly<Record<string, ExampleNode>> = {
  "```console": "plain",
  "```console sqlite": "sqlite",
  "```console peers": "peers",
};

/** Throws where a block has output before its first command. */
export function examplesIn(markdown: string): Example[] {
  const examples: { node: ExampleNode; line: number; command: string; expected: string[] }[] = [];
  let inFence = false;
  let inBlock = false;
  let node: ExampleNode = "plain";
  for (const [index, text] of markdown.split("\n").entries()) {
    if (text.startsWith("```")) {
      const wanted = inFence ? undefined : NODES[text];
      inFence = !inFence;
      inBlock = wanted !== undefined;
      if (wanted === undefined) continue;
      node = wanted;
      examples.push({ node, line: index + 1, command: "", expected: [] });
    } else if (inBlock && text.startsWith(PROMPT)) {
      examples.push({ node, line: index + 1, command: text.slice(PROMPT.length), expected: [] });
    } else if (inBlock) {
      examples.at(-1)?.expected.push(text);
    }
  }
  const orphan = examples.find((example) => example.command === "" && example.expected.length > 0);
  if (orphan !== undefined) throw new Error(`line ${orphan.line}: output without a command`);
  return examples.filter((example) => example.command !== "");
}

/** Whether a command printed what its example says; line ends and trailing blank lines do not count. */
export function printed(expected: readonly string[], output: string): boolean {
  const lines = output.replaceAll("\r\n", "\n").replace(/\n+$/, "").split("\n");
  const wanted = expected.length === 0 ? [""] : expected;
  return lines.length === wanted.length && wanted.every((text, index) => lineMatcher(text).test(lines[index] ?? ""));
}

function lineMatcher(text: string): RegExp {
  const parts = text.split("…").map((part) => part.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&"));
  return new RegExp(`^${parts.join(".*")}$`);
}
