/** Writers that note what was sent and what was acknowledged, until they are told to stop or the node is gone. */
import { connect, type Socket } from "node:net";

/** What a key may hold: a value, or nothing after a delete. */
type State = number | null;

/** What was written to a node, and to those before it. Values grow, so that an older one shows. */
export class Ledger {
  /** How many answers there were, by status. */
  readonly answers = new Map<number, number>();
  /** The longest time until an answer, in ms. */
  slowestMs = 0;
  /** By key: what was acknowledged last, and what was sent since, which may be there or not. */
  readonly #possible = new Map<string, State[]>();
  #next = 1;

  get acknowledgements(): number {
    return this.answers.get(200) ?? 0;
  }

  keys(): string[] {
    return [...this.#possible.keys()];
  }

  nextValue(): number {
    return this.#next++;
  }

  sent(key: string, state: State): void {
    const possible = this.#possible.get(key);
    if (possible === undefined) this.#possible.set(key, [null, state]);
    else possible.push(state);
  }

  answered(key: string, state: State, status: number, afterMs: number): void {
    this.answers.set(status, (this.answers.get(status) ?? 0) + 1);
    this.slowestMs = Math.max(this.slowestMs, afterMs);
    if (status === 200) this.#possible.set(key, [state]);
  }

  /** What is wrong with what was found; empty = nothing. */
  mistakes(found: ReadonlyMap<string, number>): string[] {
    return [...this.#possible].flatMap(([key, possible]) => {
      const state = found.get(key) ?? null;
      return possible.includes(state) ? [] : [`${key} is ${state}, and may be ${possible.join(" or ")}`];
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
  /** How much of the writes are deletes; left out = none. */
  readonly deleteShare?: number;
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
  { keysEach, deleteShare = 0, random }: WriteLoadOptions,
  state: { readonly isStopping: boolean },
): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const socket: Socket = connect(port, "127.0.0.1");
  let received = "";
  let waiting: { readonly key: string; readonly change: State; readonly sinceMs: number } | null = null;

  const ask = (): void => {
    if (state.isStopping) {
      socket.end();
      return;
    }
    const key = `${name}:${Math.floor(random() * keysEach)}`;
    const change = random() < deleteShare ? null : ledger.nextValue();
    ledger.sent(key, change);
    waiting = { key, change, sinceMs: performance.now() };
    const body = change === null ? "" : `{"key":"${key}","value":${change}}`;
    const line = change === null ? `DELETE /api/cache/${key}` : "POST /api/cache";
    socket.write(`${line} HTTP/1.1\r\nHost: localhost\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
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
    ledger.answered(waiting.key, waiting.change, Number(head[1]), performance.now() - waiting.sinceMs);
    waiting = null;
    if (/^connection: *close\r$/im.test(head[2] ?? "")) socket.end();
    else ask();
  });
  socket.on("error", () => {});
  socket.on("close", () => resolve(waiting !== null));
  return promise;
}
