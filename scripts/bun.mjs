/**
 * Runs the pinned Bun with the arguments given, from Node.js alone: `node scripts/bun.mjs file.ts …`.
 *
 * The package `bun` puts its executable in place in a postinstall script. Where that did not run (`--ignore-scripts`,
 * a policy that blocks install scripts) a stub stands there, and the executable is taken from the platform's package.
 */
import { spawn, spawnSync } from "node:child_process";
import { existsSync, readdirSync, statSync } from "node:fs";
import { constants } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const modules = join(dirname(fileURLToPath(import.meta.url)), "..", "node_modules");
/** The stub is a shell script of some hundred bytes, Bun about 100 MB. */
const STUB_MAX_BYTES = 1_000_000;

const bun = findBun();
if (bun === undefined) {
  console.error("Bun is not installed here: run `npm ci` in the project's folder first");
  process.exit(1);
}

/** What Bun is sent for a signal. Ctrl-C reaches it directly as well: passed on as SIGTERM, it is not a second one. */
const passedOn = { SIGTERM: "SIGTERM", SIGINT: "SIGTERM", SIGHUP: "SIGHUP" };
let isAskedToStop = false;
for (const [signal, sent] of Object.entries(passedOn)) {
  process.on(signal, () => {
    isAskedToStop = true;
    child.kill(sent);
  });
}
// The channel ends with this process, however that ends: a node stops then.
const child = spawn(bun, process.argv.slice(2), { stdio: ["inherit", "inherit", "inherit", "ipc"] });
child.on("error", (error) => {
  console.error(`${bun} cannot be started: ${error.message}`);
  process.exit(1);
});
child.on("exit", (code, signal) => {
  // A node that is told to stop before it can listen for signals has nothing to finish: it is stopped, as was asked.
  const wasStopped = isAskedToStop && Object.hasOwn(passedOn, signal ?? "");
  if (wasStopped && process.argv[3] === "serve") process.exit(0);
  process.exit(code ?? 128 + constants.signals[signal]);
});

function findBun() {
  const installed = join(modules, "bun", "bin", "bun.exe");
  if (existsSync(installed) && statSync(installed).size > STUB_MAX_BYTES) return installed;
  const platforms = join(modules, "@oven");
  if (!existsSync(platforms)) return undefined;
  return readdirSync(platforms)
    .flatMap((name) => [join(platforms, name, "bin", "bun"), join(platforms, name, "bin", "bun.exe")])
    .find((file) => existsSync(file) && spawnSync(file, ["--version"]).status === 0);
}
