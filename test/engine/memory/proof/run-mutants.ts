/**
 * `npm run mutants`: plants each fault of `mutants.ts` in a copy of the sources and runs the proof on it. Ends with code 1
 * if one isn't found. An argument picks the mutants whose names contain it.
 */

import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { MUTANTS, type Mutant, plant } from "./mutants.ts";

const ROOT = join(import.meta.dir, "../../../..");
const TESTS = ["proof/proof.test.ts", "mutex.test.ts", "recycling.test.ts", "segment-pool.test.ts"].map(
  (file) => `test/engine/memory/${file}`,
);
/** A mutant may also make the proof run without end; a busy machine must not look like one. */
const LIMIT_MS = 120_000;

const wanted = process.argv[2] ?? "";
const mutants = MUTANTS.filter(({ name }) => name.includes(wanted));
const copy = mkdtempSync(join(tmpdir(), "mutants-"));
const alive: string[] = [];
try {
  for (const part of ["src", "test/engine/memory", "test/support", "package.json", "tsconfig.json"]) {
    cpSync(join(ROOT, part), join(copy, part), { recursive: true });
  }
  symlinkSync(join(ROOT, "node_modules"), join(copy, "node_modules"));
  if ((await prove()) !== 0) throw new Error("the proof fails without a mutant, too");
  for (const mutant of mutants) {
    const isFound = await finds(mutant);
    console.log(`${isFound ? "found" : "ALIVE"}  ${mutant.name}`);
    if (!isFound) alive.push(mutant.name);
  }
} finally {
  rmSync(copy, { recursive: true });
}
console.log(`${mutants.length - alive.length} of ${mutants.length} mutants found`);
process.exit(alive.length === 0 ? 0 : 1);

async function finds(mutant: Mutant): Promise<boolean> {
  const path = join(copy, "src/engine/memory", mutant.file);
  const source = readFileSync(path, "utf8");
  writeFileSync(path, plant(mutant, source));
  try {
    return (await prove()) !== 0;
  } finally {
    writeFileSync(path, source);
  }
}

/** The exit code of the proof; a failure to compile is no proof, so the sources must load. */
async function prove(): Promise<number> {
  const run = Bun.spawn([process.execPath, "test", "--bail", `--timeout=${LIMIT_MS}`, ...TESTS], {
    cwd: copy,
    stdio: ["ignore", "ignore", "pipe"],
    timeout: LIMIT_MS,
    killSignal: "SIGKILL",
  });
  const said = await new Response(run.stderr).text();
  if (/SyntaxError|error: Cannot find|Unexpected |error: Expected/.test(said)) throw new Error(said);
  return run.exited;
}
