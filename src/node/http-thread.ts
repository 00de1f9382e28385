/** The entry of one HTTP thread: its own listener on the node's port, the node's engine in shared memory. */

import { parentPort, workerData } from "node:worker_threads";
import { ByteBudget } from "../runtime/byte-budget.ts";
import { createLog } from "../telemetry/log.ts";
import { startListener } from "./compose.ts";
import { openEngine } from "./shared-parts.ts";
import type { MainMessage, ThreadData, ThreadMessage } from "./thread-messages.ts";
import { openThreadTelemetry } from "./thread-telemetry.ts";
import { connectHub } from "./upstream-client.ts";

const parent = parentPort;
if (parent === null) throw new Error("http-thread.ts is started by http-threads.ts, never by itself");

const { config, shared, thread, hostname, port }: ThreadData = workerData;
const log = createLog({
  level: config.telemetry.logLevel,
  isPretty: process.stderr.isTTY === true,
  write: (line) => process.stderr.write(line),
  nowMs: Date.now,
  thread,
});
const opened = await openThreadTelemetry(config, shared, thread, log);
const { telemetry } = opened;
const engine = await openEngine(config, shared, thread, {
  log: (message) => log.warn(message),
  tracer: telemetry.tracer,
});
const upstream =
  shared.link === null
    ? null
    : connectHub({
        post: (request, transfer) => parent.postMessage(request, [...transfer]),
        defer: (run) => setImmediate(run),
        monotonicMs: () => performance.now(),
        inFlight: ByteBudget.attach(shared.inFlight),
      });
const server = startListener(config, shared, engine, {
  hostname,
  port,
  reusePort: true,
  telemetry,
  upstream,
  onError: (error, traceId) => say({ kind: "request-failed", traceId, reason: String(error) }),
});

parent.on("message", (message: MainMessage) => {
  if (message.kind === "upstream") upstream?.receive(message);
  else drain(message.graceMs).then(() => say({ kind: "drained" }), failThread);
});
say({ kind: "listening", port: server.port });

async function drain(graceMs: number): Promise<void> {
  await server.drain(graceMs);
  await opened.close();
}

function say(message: ThreadMessage): void {
  parent?.postMessage(message);
}

/** Thrown outside of every call, it ends the thread, and with it the node. */
function failThread(error: unknown): void {
  queueMicrotask(() => {
    throw error;
  });
}
