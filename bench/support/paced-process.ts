/** Sends the requests that the first argument describes (JSON of `PacedOptions`); prints their p99 in ms. */
import type { Socket } from "bun";
import type { PacedOptions } from "./redis-trials.ts";

/** Requests come one by one, not in the bursts that a timer of a millisecond would make of them. */
const NAP_MS = 0.1;

const { port, request, perSecond, seconds, connections }: PacedOptions = JSON.parse(process.argv[2] ?? "{}");
const bytes = Buffer.from(request);
const nap = new Int32Array(new SharedArrayBuffer(4));
const idle: Socket<Sent>[] = [];
const waiting: number[] = [];
const delaysMs: number[] = [];

interface Sent {
  atMs: number;
}

const sockets = await Promise.all(
  Array.from({ length: connections }, () =>
    Bun.connect<Sent>({
      hostname: "127.0.0.1",
      port,
      data: { atMs: 0 },
      socket: {
        data(socket) {
          delaysMs.push(performance.now() - socket.data.atMs);
          const dueMs = waiting.shift();
          if (dueMs === undefined) idle.push(socket);
          else send(socket, dueMs);
        },
      },
    }),
  ),
);
for (const socket of sockets) {
  socket.setNoDelay(true);
  idle.push(socket);
}

const startMs = performance.now();
for (let sent = 0; performance.now() - startMs < seconds * 1000; ) {
  for (; startMs + (sent * 1000) / perSecond <= performance.now(); sent++) {
    const socket = idle.pop();
    if (socket === undefined) waiting.push(performance.now());
    else send(socket, performance.now());
  }
  await new Promise<void>((resolve) => void setImmediate(resolve));
  // Not a busy loop: Redis is on this core, too. What came due in the meantime counts from then.
  Atomics.wait(nap, 0, 0, NAP_MS);
}
for (const socket of sockets) socket.terminate();
delaysMs.sort((a, b) => a - b);
console.log(delaysMs[Math.floor(delaysMs.length * 0.99)]);

function send(socket: Socket<Sent>, dueMs: number): void {
  socket.data.atMs = dueMs;
  socket.write(bytes);
}
