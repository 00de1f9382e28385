/** Sends the requests that the first argument describes (JSON of `PacedOptions`); prints their p99 in ms. */
import { Socket } from "node:net";
import type { PacedOptions } from "./redis-trials.ts";

const { port, request, perSecond, seconds, connections }: PacedOptions = JSON.parse(process.argv[2] ?? "{}");
const idle: Socket[] = [];
const waiting: number[] = [];
const sentMs = new Map<Socket, number>();
const delaysMs: number[] = [];

const sockets = Array.from({ length: connections }, () => {
  const socket = new Socket().connect(port, "127.0.0.1");
  socket.on("data", () => {
    delaysMs.push(performance.now() - (sentMs.get(socket) ?? 0));
    const dueMs = waiting.shift();
    if (dueMs === undefined) idle.push(socket);
    else send(socket, dueMs);
  });
  socket.once("connect", () => {
    // Before the connection is there, Bun ignores it: requests would wait 40 ms for delayed acknowledgements.
    socket.setNoDelay(true);
    idle.push(socket);
  });
  return socket;
});

while (idle.length < connections) await Bun.sleep(1);
const startMs = performance.now();
for (let sent = 0; performance.now() - startMs < seconds * 1000; ) {
  if (startMs + (sent * 1000) / perSecond > performance.now()) {
    // Not a busy loop: Redis is on this core, too. What came due in the meantime goes together, and counts from then.
    await Bun.sleep(1);
    continue;
  }
  const socket = idle.pop();
  if (socket === undefined) waiting.push(performance.now());
  else send(socket, performance.now());
  sent++;
}
for (const socket of sockets) socket.destroy();
delaysMs.sort((a, b) => a - b);
console.log(delaysMs[Math.floor(delaysMs.length * 0.99)]);

function send(socket: Socket, dueMs: number): void {
  sentMs.set(socket, dueMs);
  socket.write(request);
}
