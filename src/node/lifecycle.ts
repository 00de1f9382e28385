/** From a start to the end of the process: ready line, signals, exit codes. */

import { formatAddress } from "../config/address.ts";
import { formatByteSize } from "../config/byte-size.ts";
import type { Config } from "../config/config.ts";
import type { Log } from "../telemetry/log.ts";
import { NodeError } from "./errors.ts";
import { type RunningNode, startNode } from "./node.ts";
import { isLinked } from "./open-hub.ts";
import type { StopRequest } from "./stop-requests.ts";

/** What it needs of the process that it runs in. */
export interface HostProcess {
  /** Told of every request to stop, also of those that came before it was called. */
  onStopRequest(listener: (request: StopRequest) => void): void;
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

const EXIT_OK = 0;
const EXIT_FAILURE = 1;
const EXIT_INTERRUPTED = 130;
/** Under a program that passes SIGINT on, such as npm, one press of Ctrl-C arrives twice. */
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
    const starting = start(config, {
      onFailure: fail,
      onRequestFailed: (traceId, reason) => {
        log.error("a request failed by a bug: please report it", { trace_id: traceId, reason: oneLine(reason) });
      },
      log: (message) => log.warn(oneLine(message)),
    });
    const { isStopping } = stopWhenAsked(starting, stopTimesOf(config), host, fail);
    const node = await starting;
    if (!isStopping()) host.printLine(readyLine(node, config, version));
  } catch (error) {
    fail(inOurWords(error, config));
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

/**
 * The first request drains and ends the process with 0 in the time that it may take; while it starts, as soon as it has.
 * More of them are the same request: service managers and launchers send SIGTERM to every process of a group, and pass
 * it on as well. Only a second Ctrl-C, which is a person's, ends it at once.
 */
export function stopWhenAsked(
  starting: Promise<DrainableNode>,
  times: StopTimes,
  host: HostProcess,
  fail: (error: unknown) => void,
): { isStopping(): boolean } {
  let stopping = false;
  let interruptedAtMs: number | null = null;
  host.onStopRequest((request) => {
    if (!stopping) {
      stopping = true;
      drainAndExit(starting, times, host).catch(fail);
    }
    if (request !== "SIGINT") return;
    interruptedAtMs ??= host.monotonicMs();
    if (host.monotonicMs() - interruptedAtMs >= SAME_PRESS_MS) host.exit(EXIT_INTERRUPTED);
  });
  return { isStopping: () => stopping };
}

async function drainAndExit(
  starting: Promise<DrainableNode>,
  { graceMs, drainMs }: StopTimes,
  host: HostProcess,
): Promise<void> {
  const guard = setTimeout(() => {
    host.printErrorLine("servcache: the grace period is over, what was still under way is cut");
    host.exit(EXIT_OK);
  }, graceMs + drainMs);
  // A start that fails is told of where it was begun.
  const node = await starting.catch(() => null);
  if (node !== null) {
    await node.drain(graceMs * DRAIN_SHARE);
    await node.stop();
    host.exit(EXIT_OK);
  }
  clearTimeout(guard);
}

/** The system's refusal of memory names no setting that could be changed. */
function inOurWords(error: unknown, { memory }: Config): unknown {
  if (!/out of memory|cannot allocate/i.test(String(error))) return error;
  const entries = formatByteSize(memory.entryBytes);
  return new NodeError(
    `the system does not give the ${entries} for entries that SERV_CACHE_MAX_MEMORY=${formatByteSize(memory.limitBytes)} ` +
      "(--max-memory) asks for: set it lower, or SERV_CACHE_ENTRY_MEMORY",
    { cause: error },
  );
}

function oneLine(error: unknown): string {
  return String(error).replace(/\s*\n\s*/g, " ");
}
