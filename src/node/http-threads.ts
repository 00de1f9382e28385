/** The HTTP threads of a node, seen from the main thread. */

import { Worker } from "node:worker_threads";
import { ByteBudget } from "../runtime/byte-budget.ts";
import { messageOf } from "../runtime/error-message.ts";
import { NodeError } from "./errors.ts";
import type { Hub } from "./hub.ts";
import { type DrainMessage, isThreadMessage, type ThreadData } from "./thread-messages.ts";
import { UpstreamServer } from "./upstream-server.ts";

export interface HttpThreads {
  readonly port: number;
  /** Settles when every thread has finished what was under way. */
  drain(graceMs: number): Promise<void>;
  stop(): Promise<void>;
}

export interface HttpThreadsOptions {
  /** The script that a thread runs. */
  readonly script: URL;
  readonly count: number;
  readonly data: Omit<ThreadData, "thread">;
  /** What is behind the caches of the threads; null = nothing. */
  readonly hub: Hub | null;
  /** A thread failed or ended by itself after the start: the node can't go on. */
  readonly onFailure: (error: NodeError) => void;
  /** A request failed by a bug and was answered with a 500: the node goes on. */
  readonly onRequestFailed: (traceId: string, reason: string) => void;
}

/** Starts the threads: the first one picks the port where it is open, the others share it. Throws `NodeError`. */
export async function startHttpThreads(options: HttpThreadsOptions): Promise<HttpThreads> {
  const { script, count, data, hub, onFailure, onRequestFailed } = options;
  const threads: HttpThread[] = [];
  const start = async (thread: number, port: number): Promise<number> => {
    const started = new HttpThread(script, { ...data, thread, port }, hub, onRequestFailed);
    threads.push(started);
    return started.listening;
  };
  const stop = async (): Promise<void> => {
    await Promise.all(threads.map((thread) => thread.stop()));
  };

  try {
    const port = await start(1, data.port);
    await Promise.all(Array.from({ length: count - 1 }, (_, index) => start(index + 2, port)));
    for (const thread of threads) thread.failed.then(onFailure);
    return {
      port,
      drain: async (graceMs) => {
        await Promise.all(threads.map((thread) => thread.drain(graceMs)));
      },
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

class HttpThread {
  /** The port, when the thread listens. */
  readonly listening: Promise<number>;
  /** Settles only when the thread fails, or ends without having been told to. */
  readonly failed: Promise<NodeError>;
  private readonly drained: Promise<void>;
  private readonly worker: Worker;
  private stopping = false;

  constructor(script: URL, data: ThreadData, hub: Hub | null, onRequestFailed: HttpThreadsOptions["onRequestFailed"]) {
    const listening = Promise.withResolvers<number>();
    const drained = Promise.withResolvers<void>();
    const failed = Promise.withResolvers<NodeError>();
    this.listening = listening.promise;
    this.drained = drained.promise;
    this.failed = failed.promise;

    const fail = (what: string, cause?: unknown): void => {
      if (this.stopping) return;
      const error = new NodeError(`HTTP thread ${data.thread} ${what}: the node stops`, { cause });
      listening.reject(error);
      failed.resolve(error);
    };
    this.worker = new Worker(script, { workerData: data });
    const upstream =
      hub === null
        ? null
        : new UpstreamServer(
            hub,
            (answer) => this.worker.postMessage(answer),
            setImmediate,
            ByteBudget.attach(data.shared.inFlight),
          );
    this.worker.on("error", (error) => fail(`failed (${firstLine(error)})`, error));
    this.worker.on("exit", (code) => fail(`ended with code ${code}`));
    this.worker.on("message", (message: unknown) => {
      if (!isThreadMessage(message)) return;
      if (message.kind === "upstream") upstream?.receive(message);
      else if (message.kind === "listening") listening.resolve(message.port);
      else if (message.kind === "drained") drained.resolve();
      else onRequestFailed(message.traceId, message.reason);
    });
  }

  drain(graceMs: number): Promise<void> {
    const message: DrainMessage = { kind: "drain", graceMs };
    this.worker.postMessage(message);
    return this.drained;
  }

  async stop(): Promise<void> {
    this.stopping = true;
    await this.worker.terminate();
  }
}

function firstLine(error: unknown): string {
  return messageOf(error).split("\n", 1)[0] ?? "";
}
