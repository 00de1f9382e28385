import type { Cluster, Command, Redis } from "ioredis";
import { CommandSpans } from "./command-spans.ts";
import { Deadlines } from "./deadlines.ts";
import type { EncodedCommand } from "./encoded-command.ts";
import {
  CONNECTION_LOST,
  CommandTimeoutError,
  mayRetry,
  NotConnectedError,
  problemOf,
  RedisConfigError,
} from "./errors.ts";
import type { RedisEngineOptions } from "./options.ts";
import type { RedisAddress } from "./redis-url.ts";
import type { ServerScript } from "./scripts.ts";
import { SentCommand } from "./sent-command.ts";
import { slotOf } from "./slots.ts";
import { addressOf, openTopology, type Topology } from "./topology.ts";

export type Argument = string | Buffer;

/** Placeholder for the server of an unassigned slot. */
const NOBODY = "(no server)";
/** Unanswered probes before the connection is replaced. */
const MAX_HUNG_PROBES = 4;
/** Pause between two attempts while the cluster changes. */
const RETRY_MS = 25;
/** Pause between two attempts to find a server at the start. */
const OPEN_RETRY_MS = 250;

/**
 * Sends commands and returns their replies, each within the command timeout, whatever the servers do. Commands of one
 * turn of the event loop are sent in one write per server.
 */
export class RedisClient {
  readonly #options: RedisEngineOptions;
  readonly #deadlines: Deadlines;
  readonly #spans: CommandSpans | null;
  #topology: Topology | null = null;
  #closed = false;
  #openTimer: ReturnType<typeof setTimeout> | null = null;
  #corked: Redis["stream"][] = [];
  #uncorkScheduled = false;
  /** Unanswered probes in a row. */
  #hungProbes = 0;
  /** Why there is no connection; empty = no problem is known. */
  #lastProblem = "not connected yet";

  constructor(options: RedisEngineOptions) {
    this.#options = options;
    this.#spans = options.tracer === null ? null : new CommandSpans(options.tracer, options.target);
    this.#deadlines = new Deadlines({
      timeoutMs: options.commandTimeoutMs,
      arrivedBytes: () => (this.#topology?.kind === "single" ? (this.#topology.client.stream?.bytesRead ?? 0) : null),
    });
    void this.#open();
  }

  get problem(): string {
    return this.#lastProblem;
  }

  get isCluster(): boolean {
    return this.#topology?.kind === "cluster";
  }

  /** Resolves when the servers are found and answer, or after the connect timeout. */
  async opened(): Promise<void> {
    const untilMs = performance.now() + this.#options.connectTimeoutMs;
    while (this.#topology?.client.status !== "ready" && performance.now() < untilMs) await Bun.sleep(2);
  }

  /**
   * Sends a command once. Takes ownership of `args`. Rejects with an error that `classify` understands. @param
   * replyBytes size of the reply, if it is known and large
   */
  send(name: string, args: Argument[], replyBytes = 0): Promise<unknown> {
    const topology = this.#connected;
    if (topology === null) return Promise.reject(this.#notConnected());
    this.#cork(topology);
    const command = untraced(new SentCommand(name, args));
    topology.client.sendCommand(command);
    this.#deadlines.watch(command, replyBytes + bytesOf(args));
    return this.#spans === null ? command.promise : this.#spans.follow(name, command.promise);
  }

  /**
   * Runs `run`, and retries it until it succeeds or the command timeout is over, as long as a command was not executed
   * because servers come, go, or change their places. @param isRepeatable whether it may also be executed twice, and
   * long after its caller has given up
   */
  async insist<T>(isRepeatable: boolean, run: () => Promise<T>): Promise<T> {
    try {
      return await run();
    } catch (error) {
      return this.#again(error, isRepeatable, run);
    }
  }

  /** Whether there is a single server for all commands, and it is connected. */
  get takesEncoded(): boolean {
    return this.#connected?.kind === "single";
  }

  /** Sends to the single server. */
  sendEncoded(command: EncodedCommand): Promise<unknown> {
    const topology = this.#connected;
    if (topology?.kind !== "single") return Promise.reject(this.#notConnected());
    topology.client.sendCommand(untraced(command));
    this.#deadlines.watch(command);
    return command.promise;
  }

  /** Sends a command to one primary. */
  sendTo(primary: Redis, name: string, args: Argument[]): Promise<unknown> {
    const command = untraced(new SentCommand(name, args));
    primary.sendCommand(command);
    this.#deadlines.watch(command);
    return this.#spans === null ? command.promise : this.#spans.follow(name, command.promise);
  }

  /** Runs a script in one round trip; in two on a server that does not know it yet. */
  async run(script: ServerScript, keys: string[], args: Argument[]): Promise<unknown> {
    const rest = [String(keys.length), ...keys, ...args];
    try {
      return await this.send("evalsha", [script.sha, ...rest]);
    } catch (error) {
      if (!problemOf(error).startsWith("NOSCRIPT")) throw error;
      return await this.send("eval", [script.source, ...rest]);
    }
  }

  /** The primaries, in a stable order. Throws `NotConnectedError`. */
  primaries(): Redis[] {
    const topology = this.#topology;
    if (topology === null) throw this.#notConnected();
    if (topology.kind === "single") return [topology.client];
    const nodes = topology.client.nodes("master");
    if (nodes.length === 0) throw this.#notConnected();
    return nodes.sort((a, b) => (nameOf(a) < nameOf(b) ? -1 : 1));
  }

  primaryAddresses(): RedisAddress[] {
    return this.primaries().map((primary) => {
      const { host, port } = primary.options;
      return this.isCluster && host !== undefined && port !== undefined ? { host, port } : addressOf(primary);
    });
  }

  /**
   * The name of a primary within a cursor. A single server has none, because its address may change with a failover.
   */
  nameOfPrimary(primary: Redis): string {
    return this.isCluster ? nameOf(primary) : "-";
  }

  /** The owners of the slots as one text, to detect changes. */
  layout(): string {
    const topology = this.#topology;
    if (topology?.kind !== "cluster") return "";
    return topology.client.slots.map((nodes) => nodes[0] ?? "").join();
  }

  /** The server that is responsible for a name, as the breaker names it; "" for a single server. */
  serverOf(name: string): string {
    const topology = this.#topology;
    return topology?.kind === "cluster" ? (topology.client.slots[slotOf(name)]?.[0] ?? NOBODY) : "";
  }

  /** The names of all servers that hold entries. */
  servers(): string[] {
    const topology = this.#topology;
    if (topology?.kind !== "cluster") return [""];
    return [...new Set(topology.client.slots.map((nodes) => nodes?.[0] ?? NOBODY))];
  }

  /** Resolves when the server responsible for a name answers; "" = when the servers are known. */
  async probe(name: string): Promise<void> {
    const topology = this.#topology;
    if (topology === null) throw this.#notConnected();
    try {
      if (topology.kind === "cluster") await refreshSlots(topology.client, this.#options.commandTimeoutMs);
      if (topology.kind === "single") await this.send("ping", []);
      else if (name !== "") await this.send("exists", [name]);
      this.#hungProbes = 0;
    } catch (error) {
      if (error instanceof CommandTimeoutError && ++this.#hungProbes >= MAX_HUNG_PROBES) this.#renew(topology, name);
      throw error;
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    if (this.#openTimer !== null) clearTimeout(this.#openTimer);
    this.#deadlines.stop();
    this.#topology?.client.disconnect();
  }

  async #open(): Promise<void> {
    try {
      const topology = await openTopology(this.#options);
      if (this.#closed) return topology.client.disconnect();
      this.#topology = topology;
      topology.client.on("error", (error: unknown) => this.#note(error));
      topology.client.on("ready", () => this.#note(null));
      // A client that is disconnected while it connects, as its own failover detector does, never connects again.
      topology.client.on("end", () => this.#openAgain(topology));
      if (topology.kind === "cluster") topology.client.on("node error", (error: unknown) => this.#note(error));
    } catch (error) {
      this.#note(error);
      const isHopeless = error instanceof RedisConfigError;
      if (!this.#closed && !isHopeless) this.#openTimer = setTimeout(() => void this.#open(), OPEN_RETRY_MS);
    }
  }

  #openAgain(ended: Topology): void {
    if (this.#closed || this.#topology !== ended) return;
    this.#topology = null;
    this.#openTimer = setTimeout(() => void this.#open(), OPEN_RETRY_MS);
  }

  /** The topology, if commands can be sent now. */
  get #connected(): Topology | null {
    return this.#topology?.client.status === "ready" ? this.#topology : null;
  }

  #notConnected(): NotConnectedError {
    return new NotConnectedError(this.#lastProblem === "" ? CONNECTION_LOST : this.#lastProblem);
  }

  #note(error: unknown): void {
    this.#lastProblem = error === null ? "" : problemOf(error);
  }

  async #again<T>(first: unknown, isRepeatable: boolean, run: () => Promise<T>): Promise<T> {
    const { commandTimeoutMs } = this.#options;
    const untilMs = performance.now() + commandTimeoutMs;
    for (let error = first; ; ) {
      if (this.#closed || !mayRetry(error, isRepeatable) || performance.now() + RETRY_MS >= untilMs) throw error;
      if (this.#topology?.kind === "cluster") this.#topology.client.refreshSlotsCache();
      await Bun.sleep(RETRY_MS);
      try {
        return await within(Math.max(1, untilMs - performance.now()), run());
      } catch (next) {
        error = next;
      }
    }
  }

  /** The connection may hang instead of the server, and then it never recovers by itself. */
  #renew({ kind, client }: Topology, name: string): void {
    this.#hungProbes = 0;
    if (client.status !== "ready") return;
    if (kind === "single") client.disconnect(true);
    else
      client
        .nodes()
        .find((node) => nameOf(node) === this.serverOf(name))
        ?.stream.destroy();
  }

  /** Holds the bytes back until the end of this turn: one system call instead of one per command. */
  #cork(topology: Topology): void {
    if (this.#uncorkScheduled) return;
    this.#uncorkScheduled = true;
    const nodes = topology.kind === "single" ? [topology.client] : topology.client.nodes("master");
    for (const { stream, status } of nodes) {
      if (status !== "ready") continue;
      stream.cork();
      this.#corked.push(stream);
    }
    setImmediate(this.#uncork);
  }

  readonly #uncork = (): void => {
    this.#uncorkScheduled = false;
    for (const stream of this.#corked) stream.uncork();
    this.#corked.length = 0;
  };
}

/**
 * ioredis traces every command into `diagnostics_channel`. On Bun it cannot see that there is no subscriber, and does
 * the work: a quarter of the cost of a command.
 */
function untraced<C extends Command>(command: C): C {
  command.isTraced = true;
  return command;
}

function bytesOf(args: readonly Argument[]): number {
  let bytes = 0;
  for (const argument of args) bytes += argument.length;
  return bytes;
}

function nameOf(node: Redis): string {
  return `${node.options.host}:${node.options.port}`;
}

function refreshSlots(cluster: Cluster, timeoutMs: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new CommandTimeoutError("cluster slots", timeoutMs)), timeoutMs);
    cluster.refreshSlotsCache((error) => {
      clearTimeout(timer);
      if (error instanceof Error) reject(error);
      else resolve();
    });
  });
}

/** Limits the last attempt to the rest of the call's time. */
async function within<T>(leftMs: number, attempt: Promise<T>): Promise<T> {
  const { promise: timedOut, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(new CommandTimeoutError("in time", Math.round(leftMs))), leftMs);
  try {
    return await Promise.race([attempt, timedOut]);
  } finally {
    clearTimeout(timer);
  }
}
