import { expect, test } from "bun:test";
import { HeldBytes, LOST } from "../../../src/http/transport/answer-part.ts";
import { Connection } from "../../../src/http/transport/connection.ts";
import { DEFAULT_HTTP_LIMITS } from "../../../src/http/transport/limits.ts";
import { OutputQueue } from "../../../src/http/transport/output-queue.ts";
import { ReadPause } from "../../../src/http/transport/read-pause.ts";
import { ParsedRequest } from "../../../src/http/transport/request.ts";
import { ResponseHead } from "../../../src/http/transport/response-head.ts";
import { ResponseWriter } from "../../../src/http/transport/response-writer.ts";
import { TURN_BYTES, Turns, type TurnTaker } from "../../../src/http/transport/turns.ts";
import { ByteBudget } from "../../../src/runtime/byte-budget.ts";

const MIB = 1024 * 1024;

/** Turns that come when the test says so. */
class ManualTurns extends Turns {
  private readonly deferred: (() => void)[];

  constructor() {
    const deferred: (() => void)[] = [];
    super((run) => deferred.push(run));
    this.deferred = deferred;
  }

  /** @returns whether anybody had waited */
  next(): boolean {
    const run = this.deferred.shift();
    run?.();
    return run !== undefined;
  }
}

/** A kernel that takes `roomBytes` more, and counts what it took in this turn. */
class Socket {
  readonly remoteAddress = "";
  roomBytes = Number.POSITIVE_INFINITY;
  takenBytes = 0;
  isPaused = false;
  write(_: Buffer, __: number, length: number): number {
    const taken = Math.min(length, this.roomBytes);
    this.roomBytes -= taken;
    this.takenBytes += taken;
    return taken;
  }
  shutdown(): void {}
  end(): void {}
  terminate(): void {}
  pause(): void {
    this.isPaused = true;
  }
  resume(): void {
    this.isPaused = false;
  }
}

function answerOf(bytes: number): HeldBytes {
  return new HeldBytes(ByteBudget.create(64 * MIB), Buffer.alloc(bytes), 0, bytes, 0);
}

function outputTo(socket: Socket, turns: Turns): OutputQueue {
  const context = {
    limits: DEFAULT_HTTP_LIMITS,
    budget: ByteBudget.create(64 * MIB),
    monotonicMs: 0,
    sweepIntervalMs: 1_000,
  };
  const taker: TurnTaker = {
    takeTurn() {
      output.endWait();
      output.send();
    },
  };
  const output: OutputQueue = new OutputQueue(socket, { ...context, turns }, taker);
  return output;
}

test("of large answers one goes on in each turn, by a bounded number of bytes, and all come to their end", () => {
  const turns = new ManualTurns();
  const sockets = Array.from({ length: 5 }, () => new Socket());
  const outputs = sockets.map((socket) => outputTo(socket, turns));
  for (const output of outputs) output.add(answerOf(4 * MIB));
  const lasted: number[] = [];
  for (let turn = 1; ; turn++) {
    const before = sockets.map(({ takenBytes }) => takenBytes);
    if (!turns.next()) break;
    const moved = sockets.map(({ takenBytes }, at) => takenBytes - (before[at] ?? 0)).filter((bytes) => bytes > 0);
    expect(moved).toEqual([TURN_BYTES]);
    lasted.push(turn);
    // None is ahead of another by more than a turn.
    const sent = sockets.map(({ takenBytes }) => takenBytes);
    expect(Math.max(...sent) - Math.min(...sent)).toBeLessThanOrEqual(TURN_BYTES);
  }
  expect(lasted.length).toBe((5 * (4 * MIB - TURN_BYTES)) / TURN_BYTES);
  expect(sockets.map(({ takenBytes }) => takenBytes)).toEqual(Array.from(sockets, () => 4 * MIB));
  expect(outputs.every(({ isEmpty }) => isEmpty)).toBe(true);
});

test("an answer that waits for its client takes no turns", () => {
  const turns = new ManualTurns();
  const socket = new Socket();
  socket.roomBytes = 100_000;
  const output = outputTo(socket, turns);
  output.add(answerOf(2 * MIB));
  expect(turns.next()).toBe(false);
  socket.roomBytes = TURN_BYTES;
  output.send();
  // The turn limit and the kernel's room were reached together.
  expect(turns.next()).toBe(true);
  expect(turns.next()).toBe(false);
  expect(socket.takenBytes).toBe(100_000 + TURN_BYTES);
});

test("a socket is read from again only when nothing that arrived waits, and its turn has come", () => {
  for (const order of [
    ["end", "turn"],
    ["turn", "end"],
  ]) {
    const turns = new ManualTurns();
    const socket = new Socket();
    const pause = new ReadPause(socket, ByteBudget.create(MIB), turns);
    pause.waitForTurn();
    expect(pause.begin(10)).toBe(true);
    for (const [number, step] of order.entries()) {
      expect(socket.isPaused).toBe(true);
      if (step === "end") pause.end();
      else expect(turns.next()).toBe(true);
      expect(socket.isPaused).toBe(number === 0);
    }
    expect(turns.next()).toBe(false);
  }
});

test("a closed socket is not touched when its turn comes", () => {
  const turns = new ManualTurns();
  const socket = new Socket();
  const pause = new ReadPause(socket, ByteBudget.create(MIB), turns);
  pause.waitForTurn();
  pause.giveBack();
  expect(turns.next()).toBe(true);
  expect(socket.isPaused).toBe(true);
});

test("an answer to a client that has reset its connection is lost, not kept", () => {
  const gone = { write: () => -1 };
  expect(answerOf(MIB).send(gone, TURN_BYTES)).toBe(LOST);
});

/** A connection on its own, whose handler answers 200. */
function connectionOn(socket: Socket, turns: Turns, admits: boolean): Connection {
  const shared = { head: new ResponseHead(), draining: false, budget: ByteBudget.create(64 * MIB) };
  shared.head.setTime(0);
  return new Connection(socket, {
    ...shared,
    turns,
    limits: DEFAULT_HTTP_LIMITS,
    refusesOtherSites: false,
    handler: (_, response) => response.sendText(200, "", ""),
    admits: () => admits,
    monotonicMs: 0,
    sweepIntervalMs: 1_000,
    drainIdleUntilMs: Number.POSITIVE_INFINITY,
    request: new ParsedRequest(),
    spareRequests: [],
    response: new ResponseWriter(shared),
    newTraceId: () => "",
    onError(error) {
      throw error;
    },
  });
}

test.each([
  ["a body that is kept", true],
  ["a body that is dropped", false],
])("of %s one packet is read in each turn", (_, admits) => {
  const turns = new ManualTurns();
  const sockets = Array.from({ length: 4 }, () => new Socket());
  const connections = sockets.map((socket) => connectionOn(socket, turns, admits));
  const head = `PUT /a HTTP/1.1\r\nHost: a\r\nContent-Length: ${3 * TURN_BYTES}\r\n\r\n`;
  for (const [number, connection] of connections.entries()) {
    connection.onData(Buffer.from(head));
    expect(sockets[number]?.isPaused).toBe(false);
    connection.onData(Buffer.alloc(TURN_BYTES));
    expect(sockets[number]?.isPaused).toBe(true);
  }
  const order: number[] = [];
  while (order.length < 8) {
    expect(turns.next()).toBe(true);
    const read = sockets.findIndex(({ isPaused }) => !isPaused);
    expect(sockets.filter(({ isPaused }) => !isPaused).length).toBe(1);
    order.push(read);
    connections[read]?.onData(Buffer.alloc(TURN_BYTES));
    expect(sockets[read]?.isPaused).toBe(true);
  }
  expect(order).toEqual([0, 1, 2, 3, 0, 1, 2, 3]);
});

test("a small packet waits for nobody", () => {
  const turns = new ManualTurns();
  const socket = new Socket();
  const connection = connectionOn(socket, turns, true);
  connection.onData(Buffer.from("GET /a HTTP/1.1\r\nHost: a\r\n\r\n".repeat(1_000)));
  expect(socket.isPaused).toBe(false);
  expect(turns.next()).toBe(false);
});
