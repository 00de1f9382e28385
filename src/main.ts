/** `servcache <command>`: starts one node from arguments and environment. */

import { readFileSync } from "node:fs";
import { availableParallelism, totalmem } from "node:os";
import manifest from "../package.json" with { type: "json" };
import { type LoadedConfig, loadConfig } from "./config/config.ts";
import { ConfigError } from "./config/errors.ts";
import { serveHelp } from "./config/help.ts";
import { availableMemoryBytes } from "./config/memory-limit.ts";
import { type HostProcess, runNode } from "./node/lifecycle.ts";
import { createLog } from "./telemetry/log.ts";

const EXIT_USAGE = 2;

const USAGE = `Usage: servcache <command>

  serve [flags]   starts a node (servcache serve --help lists the flags)
  help            prints this
  --version       prints the version
`;

const host: HostProcess = {
  onSignal: (signal, listener) => process.on(signal, listener),
  onUncaught: (listener) => {
    process.on("uncaughtException", listener);
    process.on("unhandledRejection", listener);
  },
  printLine: (line) => process.stdout.write(`${line}\n`),
  printErrorLine: (line) => process.stderr.write(`${line}\n`),
  exit: (code) => process.exit(code),
  monotonicMs: () => performance.now(),
};

await main(process.argv.slice(2));

async function main(args: readonly string[]): Promise<void> {
  const [command, ...rest] = args;
  switch (command) {
    case "serve":
      return serve(rest);
    case "help":
    case "--help":
    case "-h":
      process.stdout.write(USAGE);
      return;
    case "version":
    case "--version":
      host.printLine(`servcache ${manifest.version}`);
      return;
    default:
      process.stderr.write(USAGE);
      host.exit(EXIT_USAGE);
  }
}

async function serve(args: readonly string[]): Promise<void> {
  if (args.some((arg) => arg === "--help" || arg === "-help" || arg === "-h")) {
    process.stdout.write(serveHelp());
    return;
  }
  const loaded = load(args);
  if (loaded === null) return;
  const log = createLog({
    level: loaded.config.telemetry.logLevel,
    isPretty: process.stderr.isTTY === true,
    write: (line) => process.stderr.write(line),
    nowMs: Date.now,
  });
  for (const warning of loaded.warnings) log.warn(warning);
  await runNode(loaded.config, manifest.version, host, log);
}

function load(args: readonly string[]): LoadedConfig | null {
  const machine = { memoryBytes: availableMemoryBytes(totalmem(), readTextFile), cores: availableParallelism() };
  try {
    return loadConfig(args, process.env, machine);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    host.printErrorLine(`servcache: ${error.message}`);
    host.exit(EXIT_USAGE);
    return null;
  }
}

function readTextFile(path: string): string | null {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return null;
  }
}
