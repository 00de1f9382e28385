/**
 * Checks the import order with dependency-cruiser, and that the check can fail: first a bad import in a temporary
 * house must be found (a parser that reads no TypeScript sees no import at all, and says that all is well).
 */
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";

const root = dirname(import.meta.dir);
const config = join(root, ".dependency-cruiser.cjs");
const cruiser = join(root, "node_modules", "dependency-cruiser", "bin", "dependency-cruise.mjs");

const badHouse: Readonly<Record<string, string>> = {
  "src/config/config.ts": 'import type { Engine } from "../engine/engine.ts";\nexport type Config = Engine;\n',
  "src/engine/engine.ts": 'import { serve } from "../http/transport/server.ts";\nexport type Engine = typeof serve;\n',
  "src/http/transport/server.ts":
    'import type { Config } from "../../config/config.ts";\nexport function serve(_: Config): void {}\n',
  "src/http/rest/api.ts": "export const path = 1;\n",
  "src/http/transport/wait.ts": 'export { path } from "../rest/api.ts";\n',
  "src/attic/box.ts": 'export { serve } from "../http/transport/server.ts";\n',
};
const mustBeFound = [
  "config-imports-only-what-lies-below",
  "engine-imports-only-what-lies-below",
  "no-circle",
  "transport-knows-nothing-of-rest",
  "every-room-has-its-rule",
];

const proof = cruiseBadHouse();
const missed = mustBeFound.filter((rule) => !proof.output.includes(rule));
if (proof.exitCode === 0 || missed.length > 0) {
  console.error(`the check of the import order does not work, it misses: ${missed.join(", ")}\n${proof.output}`);
  process.exit(1);
}

const result = cruise(root);
console.log(result.output.trim());
process.exit(result.exitCode);

function cruiseBadHouse(): { exitCode: number; output: string } {
  const house = mkdtempSync(join(tmpdir(), "servcache-arrows-"));
  try {
    for (const [file, text] of Object.entries(badHouse)) {
      mkdirSync(dirname(join(house, file)), { recursive: true });
      writeFileSync(join(house, file), text);
    }
    writeFileSync(join(house, "package.json"), "{}");
    symlinkSync(join(root, "node_modules"), join(house, "node_modules"));
    return cruise(house);
  } finally {
    rmSync(house, { recursive: true });
  }
}

function cruise(cwd: string): { exitCode: number; output: string } {
  // Not Bun: the parser's visitor class does not come through its module interop.
  const command = ["node", cruiser, "--config", config, "--output-type", "err-long", "src"];
  const run = Bun.spawnSync(command, { cwd, stdout: "pipe", stderr: "pipe" });
  return { exitCode: run.exitCode, output: `${run.stdout}${run.stderr}` };
}
