/** From a start to the end of the process: ready line, signals, exit codes. */

import { constants } from "node:os";
import { formatAddress } from "../config/address.ts";
import { formatByteSize } from "../config/byte-size.ts";
import type { Config } from "../config/config.ts";
import type { Log } from "../telemetry/log.ts";
import { NodeError } from "./errors.ts";
import { type RunningNode, startNode } from "./node.ts";
import { isLinked } from "./open-hub.ts";

/** What it needs of the process that it runs in. */
export interface HostProcess {
  onSignal(signal: StopSignal, listener: () => void): void;
  /** An error or a rejection that nobody handled. */
  onUncaught(listener: (error: unknown) => void): void;
  printLine(line: string): void;
  printErrorLine(line: string): void;
  exit(code: number): void;
  /** Of a clock that never goes back. */
  monotonicMs(): number;
}

/** As much of a running node as a stop needs. */
export type DrainableNode = Pick<RunningNode, "drain" | "stop">;

export type StopSignal = "SIGTERM" | "SIGINT";

const EXIT_OK = 0;
const EXIT_FAILURE = 1;
/** Ctrl-C reaches a process directly and once more through npm and the launcher: that is one press, not two. */
const SAME_PRESS_MS = 500;
/** What remains of the grace period after the drain, to end threads and the process. */
const DRAIN_SHARE = 0.95;

/** Runs a node until a signal or a failure ends the process. */
export async function runNode(
  config: Config,
  version: string,
  host: HostProcess,
  log: Log,
  start: typeof startNode = startNode,
): Promise<void> {
  const fail = (error: unknown): void => {
    log.flush();
    host.printErrorLine(
      `servcache: ${error instanceof NodeError ? error.message : `unexpected failure: ${oneLine(error)}`}`,
    );
    host.exit(EXIT_FAILURE);
  };
  host.onUncaught(fail);
  try {
    const node = await start(config, {
      onFailure: fail,
      onRequestFailed: (traceId, reason) => {
        log.error("a request failed by a bug: please report it", { trace_id: traceId, reason: oneLine(reason) });
      },
      log: (message) => log.warn(oneLine(message)),
    });
    stopOnSignals(node, stopTimesOf(config), host, fail);
    host.printLine(readyLine(node, config, version));
  } catch (error) {
    fail(error);
  }
}

function readyLine(node: RunningNode, config: Config, version: string): string {
  const address = formatAddress({ hostname: config.address.hostname, port: node.port });
  const threads = config.workers === 1 ? "1 thread" : `${config.workers} threads`;
  const { limitBytes, entryBytes, inFlightBytes, runtimeBytes } = config.memory;
  const parts = `${formatByteSize(entryBytes)} entries, ${formatByteSize(inFlightBytes)} in flight, ${formatByteSize(runtimeBytes)} runtime`;
  const memory = `memory ${formatByteSize(limitBytes)} (${parts})`;
  return `servcache ${version} listens on http://${address} · engine ${node.engineName} · ${memory} · ${threads}`;
}

/** How long a stop may take: for the requests that are under way, and for what waits behind the cache then. */
interface StopTimes {
  readonly graceMs: number;
  readonly drainMs: number;
}

function stopTimesOf(config: Config): StopTimes {
  return { graceMs: config.shutdownGraceMs, drainMs: isLinked(config) ? config.outbox.drainTimeoutMs : 0 };
}

/** The first signal drains and ends the process in the time that it may take, a second one ends it at once. */
export function stopOnSignals(
  node: DrainableNode,
  times: StopTimes,
  host: HostProcess,
  fail: (error: unknown) => void,
): void {
  let stoppingSinceMs: number | null = null;
  const onSignal = (signal: StopSignal): void => {
    const nowMs = host.monotonicMs();
    if (stoppingSinceMs === null) {
      stoppingSinceMs = nowMs;
      drainAndExit(node, times, host).catch(fail);
    } else if (nowMs - stoppingSinceMs >= SAME_PRESS_MS) {
      host.exit(128 + constants.signals[signal]);
    }
  };
  for (const signal of ["SIGTERM", "SIGINT"] as const) host.onSignal(signal, () => onSignal(signal));
}

async function drainAndExit(node: DrainableNode, { graceMs, drainMs }: StopTimes, host: HostProcess): Promise<void> {
  const guard = setTimeout(() => {
    host.printErrorLine("servcache: the grace period is over, what was still under way is cut");
    host.exit(EXIT_OK);
  }, graceMs + drainMs);
  await node.drain(graceMs * DRAIN_SHARE);
  await node.stop();
  clearTimeout(guard);
  host.exit(EXIT_OK);
}

function oneLine(error: unknown): string {
  return String(error).replace(/\s*\n\s*/g, " ");
}
