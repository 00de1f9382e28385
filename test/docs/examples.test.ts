/** Runs every example of the README and the guide, in order, against nodes of its file's own. */

import { afterEach, describe, expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { type ExampleNode, examplesIn, printed } from "../support/examples.ts";
import { endServed, type ServedNode, serve } from "../support/serve.ts";
import { type TempFolder, tempFolder } from "../support/temp-folder.ts";

const root = join(import.meta.dir, "..", "..");
const guide = readdirSync(join(root, "docs", "guide"))
  .filter((name) => name.endsWith(".md"))
  .map((name) => join("docs", "guide", name));
const folders: TempFolder[] = [];
const documents = ["README.md", ...guide]
  .map((file) => ({ file, examples: examplesIn(readFileSync(join(root, file), "utf8")) }))
  .filter((document) => document.examples.length > 0);

afterEach(async () => {
  await endServed();
  for (const folder of folders.splice(0)) folder[Symbol.dispose]();
});

describe("the documentation", () => {
  test("has examples in the README and in the guides to the API and the database", () => {
    expect(documents.map((document) => document.file)).toEqual(
      expect.arrayContaining(["README.md", join("docs", "guide", "api.md"), join("docs", "guide", "backend.md")]),
    );
  });

  test.each(documents)("$file: every example answers as it says", async ({ file, examples }) => {
    const nodes = new Map<ExampleNode, ServedNode>();
    for (const kind of new Set(examples.map((example) => example.node))) nodes.set(kind, await serveKind(kind));
    for (const { node, line, command, expected } of examples) {
      const output = await run(command.replaceAll("localhost:8088", `127.0.0.1:${nodes.get(node)?.port}`));
      const where = `${file}:${line}: ${command}`;
      // Compared as a whole where it differs, so that the failure shows both sides.
      if (!printed(expected, output)) expect({ where, output }).toEqual({ where, output: expected.join("\n") });
    }
  });
});

function serveKind(kind: ExampleNode): Promise<ServedNode> {
  const plain = ["--addr=127.0.0.1:0", "--max-memory=64MiB", "--workers=2"];
  if (kind === "plain") return serve(plain);
  const folder = tempFolder();
  folders.push(folder);
  const database = `--backend-db=sqlite:${join(folder.path, "shop.db")}`;
  return serve([...plain, database, `--data-dir=${join(folder.path, "data")}`]);
}

async function run(command: string): Promise<string> {
  const shell = Bun.spawn(["sh", "-c", command], { stdio: ["ignore", "pipe", "ignore"] });
  return new Response(shell.stdout).text();
}
