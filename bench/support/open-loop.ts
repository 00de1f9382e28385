/**
 * Load on a fixed schedule: request k is due at start + k ÷ rate, whatever became of the ones before, and its latency
 * counts from when it was due, not from when a connection was free. A stall of the server thus shows in every request
 * that it held up (no coordinated omission).
 */
import { mulberry32 } from "./engine-keys.ts";

export interface OpenLoopOptions {
  readonly port: number;
  /** The path of key n is `pathPrefix` and n in `digits` digits; keys 0 … keys - 1 are asked for at random. */
  readonly pathPrefix: string;
  readonly digits: number;
  readonly keys: number;
  readonly requestsPerSecond: number;
  readonly seconds: number;
  /** Before that: the same load for so long, sent but not counted. */
  readonly warmupSeconds: number;
  readonly connections: number;
}

export interface OpenLoopReport {
  readonly requests: number;
  readonly notFound: number;
  /** Of all requests, from when each was due to its answer's last byte, in ms. */
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly p999Ms: number;
  readonly maxMs: number;
}

/** Sends the load and waits for the last answer. Throws if a connection is lost or an answer is neither 200 nor 404. */
export async function openLoop(options: OpenLoopOptions): Promise<OpenLoopReport> {
  const run = new Run(options);
  await run.connect();
  return run.finished();
}

class Run {
  readonly #options: OpenLoopOptions;
  readonly #total: number;
  readonly #warmup: number;
  readonly #latenciesMs: Float64Array;
  readonly #idle: Connection[] = [];
  readonly #all: Connection[] = [];
  readonly #random = mulberry32(7);
  /** Spins: a timer would be up to a millisecond late. One function for all rounds, so that it makes no garbage. */
  readonly #tick = (): void => {
    this.#sendDue();
    if (this.#sent < this.#total && !this.#hasFailed) setImmediate(this.#tick);
  };
  readonly #done = Promise.withResolvers<OpenLoopReport>();
  #startMs = 0;
  #sent = 0;
  #answered = 0;
  #notFound = 0;
  #hasFailed = false;

  constructor(options: OpenLoopOptions) {
    this.#options = options;
    this.#warmup = Math.floor(options.requestsPerSecond * options.warmupSeconds);
    this.#total = this.#warmup + Math.floor(options.requestsPerSecond * options.seconds);
    this.#latenciesMs = new Float64Array(this.#total);
  }

  async connect(): Promise<void> {
    for (let index = 0; index < this.#options.connections; index++) {
      const connection = await Connection.open(this.#options.port, this);
      this.#all.push(connection);
      this.#idle.push(connection);
    }
  }

  finished(): Promise<OpenLoopReport> {
    this.#startMs = performance.now();
    this.#tick();
    return this.#done.promise;
  }

  answered(connection: Connection, dueMs: number, status: number): void {
    if (this.#hasFailed) return;
    if (status !== 200 && status !== 404) {
      this.failed(new Error(`a request was answered with status ${status}`));
      return;
    }
    if (status === 404) this.#notFound++;
    this.#latenciesMs[this.#answered++] = performance.now() - dueMs;
    this.#idle.push(connection);
    if (this.#answered === this.#total) this.#report();
    else this.#sendDue();
  }

  failed(error: Error): void {
    if (this.#answered === this.#total || this.#hasFailed) return;
    this.#hasFailed = true;
    for (const connection of this.#all) connection.close();
    this.#done.reject(error);
  }

  #sendDue(): void {
    const { requestsPerSecond, pathPrefix, digits, keys } = this.#options;
    const due = Math.min(this.#total, ((performance.now() - this.#startMs) / 1000) * requestsPerSecond);
    while (this.#sent < due) {
      const connection = this.#idle.pop();
      if (connection === undefined) return;
      const key = String(Math.floor(this.#random() * keys)).padStart(digits, "0");
      connection.send(`${pathPrefix}${key}`, this.#startMs + (this.#sent / requestsPerSecond) * 1000);
      this.#sent++;
    }
  }

  #report(): void {
    for (const connection of this.#all) connection.close();
    const sorted = this.#latenciesMs.subarray(this.#warmup).sort();
    const last = sorted.length - 1;
    const at = (share: number) => sorted[Math.min(last, Math.floor(sorted.length * share))] ?? Number.NaN;
    this.#done.resolve({
      requests: sorted.length,
      notFound: this.#notFound,
      p50Ms: at(0.5),
      p99Ms: at(0.99),
      p999Ms: at(0.999),
      maxMs: at(1),
    });
  }
}

const NOTHING = Buffer.alloc(0);

/** One keep-alive connection with at most one request under way. */
class Connection {
  #socket: Bun.Socket | null = null;
  #dueMs = 0;
  #pending: Buffer = NOTHING;
  /** Length and status digits of the last answer: most are like the one before, and need no parsing (no garbage). */
  #lastLength = 0;
  #lastStatus = 0;

  private constructor(readonly run: Run) {}

  static async open(port: number, run: Run): Promise<Connection> {
    const connection = new Connection(run);
    connection.#socket = await Bun.connect({
      hostname: "127.0.0.1",
      port,
      socket: {
        data: (_, chunk) => connection.#received(chunk),
        close: () => run.failed(new Error("the server closed a connection")),
        error: (_, error) => run.failed(error),
      },
    });
    connection.#socket.setNoDelay(true);
    return connection;
  }

  send(path: string, dueMs: number): void {
    this.#dueMs = dueMs;
    this.#socket?.write(`GET ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n`);
  }

  close(): void {
    this.#socket?.end();
  }

  #received(chunk: Buffer): void {
    if (chunk.length === this.#lastLength && this.#pending.length === 0 && statusOf(chunk) === this.#lastStatus) {
      this.run.answered(this, this.#dueMs, this.#lastStatus);
      return;
    }
    const bytes = this.#pending.length === 0 ? chunk : Buffer.concat([this.#pending, chunk]);
    const headEnd = bytes.indexOf("\r\n\r\n");
    const head = headEnd === -1 ? "" : bytes.toString("latin1", 0, headEnd);
    const bodyBytes = Number(/content-length: *(\d+)/i.exec(head)?.[1] ?? 0);
    if (headEnd === -1 || bytes.length < headEnd + 4 + bodyBytes) {
      this.#pending = Buffer.from(bytes);
      return;
    }
    this.#pending = NOTHING;
    this.#lastLength = bytes.length;
    this.#lastStatus = statusOf(bytes);
    this.run.answered(this, this.#dueMs, this.#lastStatus);
  }
}

/** Of `HTTP/1.1 200 …`; 0 if there is no status. */
function statusOf(answer: Buffer): number {
  if (answer.length < 12) return 0;
  const digit = (index: number) => (answer[index] ?? 0) - 48;
  return digit(9) * 100 + digit(10) * 10 + digit(11);
}
