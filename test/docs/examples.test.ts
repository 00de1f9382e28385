/** Runs every example of the README and the guide, in order, against nodes of its file's own. */

import { afterEach, describe, expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { type ExampleNode, examplesIn, printed } from "../support/examples.ts";
import { quietPort } from "../support/free-port.ts";
import { needing } from "../support/needing.ts";
import { endServed, type ServedNode, serve } from "../support/serve.ts";
import { type TempFolder, tempFolder } from "../support/temp-folder.ts";
import { until } from "../support/until.ts";

/** In the examples. */
const FIRST_PORT = 8088;

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

  needing("curl").test.each(documents)("$file: every example answers as it says", async ({ file, examples }) => {
    const nodes = new Map<ExampleNode, readonly ServedNode[]>();
    for (const kind of new Set(examples.map((example) => example.node))) nodes.set(kind, await serveKind(kind));
    for (const { node, line, command, expected } of examples) {
      const here = (nodes.get(node) ?? []).reduce(
        (text, { port }, index) => text.replaceAll(`localhost:${FIRST_PORT + index}`, `127.0.0.1:${port}`),
        command,
      );
      let output = await run(here);
      // A peer has it a moment later. What is compared as a whole shows both sides of a difference.
      const isThere = async () => {
        if (!printed(expected, output)) output = await run(here);
        return printed(expected, output);
      };
      if (node === "peers") await until(command, isThere);
      const where = `${file}:${line}: ${command}`;
      if (!printed(expected, output)) expect({ where, output }).toEqual({ where, output: expected.join("\n") });
    }
  });
});

async function serveKind(kind: ExampleNode): Promise<readonly ServedNode[]> {
  const plain = ["--entry-memory=64MiB", "--workers=2"];
  if (kind === "plain") return [await serve([...plain, "--addr=127.0.0.1:0"])];
  const folder = tempFolder();
  folders.push(folder);
  if (kind === "sqlite") {
    const database = `--backend-db=sqlite:${join(folder.path, "shop.db")}`;
    return [await serve([...plain, "--addr=127.0.0.1:0", database, `--data-dir=${join(folder.path, "data")}`])];
  }
  const ports = [quietPort(), quietPort()];
  const peers = `--peers=${ports.map((port) => `http://127.0.0.1:${port}`).join(",")}`;
  return Promise.all(
    ports.map((port) =>
      serve([...plain, `--addr=127.0.0.1:${port}`, peers, `--data-dir=${join(folder.path, `${port}`)}`]),
    ),
  );
}

async function run(command: string): Promise<string> {
  const shell = Bun.spawn(["sh", "-c", command], { stdio: ["ignore", "pipe", "ignore"] });
  return new Response(shell.stdout).text();
}
