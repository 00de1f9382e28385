import { describe, expect, test } from "bun:test";
import { examplesIn, printed } from "../support/examples.ts";

describe("examples in Markdown", () => {
  test("are the commands of console blocks with the lines that follow them", () => {
    const markdown = ["text", "```console", "$ a | b", "one", "two", "$ c", "```", "```sh", "$ not this", "```"].join(
      "\n",
    );
    expect(examplesIn(markdown)).toEqual([
      { node: "plain", line: 3, command: "a | b", expected: ["one", "two"] },
      { node: "plain", line: 6, command: "c", expected: [] },
    ]);
  });

  test("say which node they are for", () => {
    const markdown = ["```console sqlite", "$ a", "```", "```console", "$ b", "```"].join("\n");
    expect(examplesIn(markdown).map(({ node, command }) => ({ node, command }))).toEqual([
      { node: "sqlite", command: "a" },
      { node: "plain", command: "b" },
    ]);
  });

  test("may not have output without a command", () => {
    expect(() => examplesIn("```console\noutput\n```")).toThrow("line 1: output without a command");
  });

  test.each([
    [["a"], "a\n"],
    [["a"], "a"],
    [["a", "b"], "a\r\nb\r\n"],
    [[], ""],
    [['{"id":"…","n":1}'], '{"id":"x.y","n":1}'],
    [["(a)…"], "(a)"],
  ])("%p is printed by %p", (expected, output) => {
    expect(printed(expected, output)).toBe(true);
  });

  test.each([
    [["a"], "b"],
    [["a"], "aa"],
    [["a"], "a\nb"],
    [["a", "b"], "a"],
    [["a.c"], "abc"],
    [[], "a"],
    [["a…b"], "a\nb"],
  ])("%p is not printed by %p", (expected, output) => {
    expect(printed(expected, output)).toBe(false);
  });
});
