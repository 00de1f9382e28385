/**
 * `npm test`: installs the programs that tests start themselves where it can, then runs `bun test` with the arguments
 * given. What needs a program that is still missing is left out and named at the end; with `CI=true` that is a failure.
 */

import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { LEFT_OUT_VARIABLE, type LeftOut } from "../test/support/needing.ts";
import { isInstalled, programs } from "../test/support/programs.ts";
import { tempFolder } from "../test/support/temp-folder.ts";

/** Tests wait for conditions: this only ends one that waits for what never comes, on the slowest machine. */
const TEST_LIMIT_MS = 300_000;

const missing = () => [...programs].filter(([name]) => !isInstalled(name));
install(missing().map(([, program]) => program.aptPackage));
if (process.env.CI === "true" && missing().length > 0) {
  for (const [name, { neededBy }] of missing()) console.error(`MISSING: ${name}, install it to test ${neededBy}`);
  process.exit(1);
}

using folder = tempFolder();
const leftOutFile = join(folder.path, "left-out");
const tests = Bun.spawn([process.execPath, "test", `--timeout=${TEST_LIMIT_MS}`, ...process.argv.slice(2)], {
  cwd: dirname(import.meta.dir),
  env: { ...process.env, [LEFT_OUT_VARIABLE]: leftOutFile },
  stdio: ["inherit", "inherit", "inherit"],
});
for (const signal of ["SIGTERM", "SIGINT"] as const) process.on(signal, () => tests.kill(signal));
process.exitCode = await tests.exited;
if (existsSync(leftOutFile)) console.error(summary(readFileSync(leftOutFile, "utf8")));

/** With the system's package manager, where that is apt and this is root; else nothing is done. */
function install(packages: readonly string[]): void {
  const canInstall = process.getuid?.() === 0 && existsSync("/etc/debian_version") && Bun.which("apt-get") !== null;
  if (packages.length === 0 || !canInstall) return;
  console.error(`installing for the tests: ${packages.join(" ")}`);
  // A server that is started by its package would only be in the way: the tests start their own.
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive", RUNLEVEL: "1" };
  for (const command of [
    ["apt-get", "update", "-qq"],
    ["apt-get", "install", "-y", "-qq", "--no-install-recommends", ...packages],
  ]) {
    const run = Bun.spawnSync(command, { env, stdio: ["ignore", "ignore", "inherit"] });
    if (run.exitCode !== 0) return;
  }
}

function summary(lines: string): string {
  const leftOut = lines
    .trim()
    .split("\n")
    .map((line): LeftOut => JSON.parse(line));
  const filesByNeed = Map.groupBy(leftOut, ({ needs }) => needs);
  const parts = [...filesByNeed].map(([needs, of]) => {
    const files = new Set(of.map(({ file }) => file));
    return `  without ${needs}: ${[...files].sort().join(", ")}`;
  });
  return `\nSKIPPED, all or in part:\n${parts.sort().join("\n")}`;
}
