/** Runs every example of the README and the guide against a node of its own for each file, in order. */

import { afterEach, describe, expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { examplesIn, printed } from "../support/examples.ts";
import { endServed, serve } from "../support/serve.ts";

const root = join(import.meta.dir, "..", "..");
const guide = readdirSync(join(root, "docs", "guide"))
  .filter((name) => name.endsWith(".md"))
  .map((name) => join("docs", "guide", name));
const documents = ["README.md", ...guide]
  .map((file) => ({ file, examples: examplesIn(readFileSync(join(root, file), "utf8")) }))
  .filter((document) => document.examples.length > 0);

afterEach(endServed);

describe("the documentation", () => {
  test("has examples in the README and in the guide to the API", () => {
    expect(documents.map((document) => document.file)).toEqual(
      expect.arrayContaining(["README.md", join("docs", "guide", "api.md")]),
    );
  });

  test.each(documents)("$file: every example answers as it says", async ({ file, examples }) => {
    const node = await serve(["--addr=127.0.0.1:0", "--max-memory=64MiB", "--workers=2"]);
    for (const { line, command, expected } of examples) {
      const output = await run(command.replaceAll("localhost:8088", `127.0.0.1:${node.port}`));
      const where = `${file}:${line}: ${command}`;
      // Compared as a whole where it differs, so that the failure shows both sides.
      if (!printed(expected, output)) expect({ where, output }).toEqual({ where, output: expected.join("\n") });
    }
  });
});

async function run(command: string): Promise<string> {
  const shell = Bun.spawn(["sh", "-c", command], { stdio: ["ignore", "pipe", "ignore"] });
  return new Response(shell.stdout).text();
}
