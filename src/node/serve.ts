/** The command `serve`: from arguments and environment to the end of the process. */

import { readFileSync } from "node:fs";
import { availableParallelism, totalmem } from "node:os";
import manifest from "../../package.json" with { type: "json" };
import { type LoadedConfig, loadConfig } from "../config/config.ts";
import { ConfigError } from "../config/errors.ts";
import { serveHelp } from "../config/help.ts";
import { availableMemoryBytes } from "../config/memory-limit.ts";
import { createLog } from "../telemetry/log.ts";
import { type HostProcess, runNode } from "./lifecycle.ts";
import type { StopRequests } from "./stop-requests.ts";

const EXIT_USAGE = 2;

export async function serve(args: readonly string[], stops: StopRequests): Promise<void> {
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
  await runNode(loaded.config, manifest.version, hostOf(stops), log);
}

function hostOf(stops: StopRequests): HostProcess {
  return {
    onStopRequest: (listener) => stops.onRequest(listener),
    onUncaught: (listener) => {
      process.on("uncaughtException", listener);
      process.on("unhandledRejection", listener);
    },
    printLine: (line) => process.stdout.write(`${line}\n`),
    printErrorLine: (line) => process.stderr.write(`${line}\n`),
    exit: (code) => process.exit(code),
    monotonicMs: () => performance.now(),
  };
}

/** Null = it can't be used, and the process ends with a line that says why. */
function load(args: readonly string[]): LoadedConfig | null {
  const machine = { memoryBytes: availableMemoryBytes(totalmem(), readTextFile), cores: availableParallelism() };
  try {
    return loadConfig(args, process.env, machine);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    process.stderr.write(`servcache: ${error.message}\n`);
    process.exit(EXIT_USAGE);
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
