/** Writers that note what was sent and what was acknowledged, until they are told to stop or the node is gone. */
import { connect, type Socket } from "node:net";

/** What was written to a node, and to those before it. Values grow, so that an older one shows. */
export class Ledger {
  /** The newest value that was sent, by key: it may be there or not. */
  readonly sent = new Map<string, number>();
  /** The newest one that was answered with 200: it has to be there, or a newer one that was sent. */
  readonly acknowledged = new Map<string, number>();
  /** How many answers there were, by status. */
  readonly answers = new Map<number, number>();
  /** The longest time until an answer, in ms. */
  slowestMs = 0;
  #next = 1;

  get acknowledgements(): number {
    return this.answers.get(200) ?? 0;
  }

  send(key: string): number {
    const value = this.#next++;
    this.sent.set(key, value);
    return value;
  }

  answered(key: string, value: number, status: number, afterMs: number): void {
    this.answers.set(status, (this.answers.get(status) ?? 0) + 1);
    this.slowestMs = Math.max(this.slowestMs, afterMs);
    if (status === 200) this.acknowledged.set(key, value);
  }

  /** What is wrong with what was found; empty = nothing. */
  mistakes(found: ReadonlyMap<string, number>): string[] {
    return [...this.acknowledged].flatMap(([key, acknowledged]) => {
      const value = found.get(key);
      const sent = this.sent.get(key) ?? 0;
      if (value !== undefined && value >= acknowledged && value <= sent) return [];
      return [`${key} is ${value}, acknowledged ${acknowledged}, sent ${sent}`];
    });
  }
}

export interface WriteLoad {
  /** Lets every writer hear its last answer; gives those that were cut off before it. */
  stop(): Promise<number>;
  /** Settles when all connections are gone; gives those that were cut off before an answer. */
  readonly over: Promise<number>;
}

export interface WriteLoadOptions {
  readonly connections: number;
  /** Each connection has keys of its own, so that the order of its writes is known. */
  readonly keysEach: number;
  readonly random: () => number;
}

const ANSWER = /^HTTP\/1\.1 (\d{3}) [^\r]*\r\n((?:[^\r]+\r\n)*)\r\n/;

export function startWriteLoad(port: number, ledger: Ledger, options: WriteLoadOptions): WriteLoad {
  const state = { isStopping: false };
  const writers = Array.from({ length: options.connections }, (_, number) =>
    write(port, ledger, `w${number}`, options, state),
  );
  const over = Promise.all(writers).then((ends) => ends.filter((wasCut) => wasCut).length);
  return {
    over,
    stop() {
      state.isStopping = true;
      return over;
    },
  };
}

/** One writer; gives whether it was cut off while it waited for an answer. */
function write(
  port: number,
  ledger: Ledger,
  name: string,
  { keysEach, random }: WriteLoadOptions,
  state: { readonly isStopping: boolean },
): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const socket: Socket = connect(port, "127.0.0.1");
  let received = "";
  let waiting: { readonly key: string; readonly value: number; readonly sinceMs: number } | null = null;

  const ask = (): void => {
    if (state.isStopping) {
      socket.end();
      return;
    }
    const key = `${name}:${Math.floor(random() * keysEach)}`;
    const value = ledger.send(key);
    const body = `{"key":"${key}","value":${value}}`;
    waiting = { key, value, sinceMs: performance.now() };
    socket.write(`POST /api/cache HTTP/1.1\r\nHost: test\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
  };
  socket.setEncoding("latin1");
  socket.setNoDelay(true);
  socket.on("connect", ask);
  socket.on("data", (chunk: string) => {
    received += chunk;
    const head = ANSWER.exec(received);
    if (head === null || waiting === null) return;
    const length = Number(/^content-length: *(\d+)\r$/im.exec(head[2] ?? "")?.[1] ?? 0);
    if (received.length < head[0].length + length) return;
    received = received.slice(head[0].length + length);
    ledger.answered(waiting.key, waiting.value, Number(head[1]), performance.now() - waiting.sinceMs);
    waiting = null;
    if (/^connection: *close\r$/im.test(head[2] ?? "")) socket.end();
    else ask();
  });
  socket.on("error", () => {});
  socket.on("close", () => resolve(waiting !== null));
  return promise;
}
