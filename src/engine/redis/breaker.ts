import { backoffMs } from "../../runtime/backoff.ts";
import { problemOf } from "./errors.ts";

interface BreakerOptions {
  /** Ms since the Unix epoch: since when a server is away is told. */
  readonly clock: () => number;
  /** Never goes back. */
  readonly monotonicMs: () => number;
  readonly random: () => number;
  /**
   * Resolves when the server that is responsible for a name answers (its new owner if the name has moved); "" = every
   * server.
   */
  readonly probe: (name: string) => Promise<void>;
  /** Logs one line for the operator. */
  readonly log: (message: string) => void;
}

export interface Outage {
  readonly sinceMs: number;
  readonly reason: string;
}

/** This thread's recent observations of one server. */
interface Suspicion {
  windowStartMs: number;
  /** `#calls` at the start of the window. */
  calls: number;
  failures: number;
  consecutive: number;
}

/** This many failures in a row open the breaker. */
const MAX_CONSECUTIVE = 3;
/** This many failures within the window open it, if they are at least this share of the calls. */
const MIN_FAILURES = 5;
const MIN_FAILURE_SHARE = 0.05;
const WINDOW_MS = 1000;
const PROBE = { firstMs: 50, maxMs: 250 };

/** The most servers with a cell of their own; further ones share the last cell. */
const CELLS = 256;
const CELL_BYTES = 256;
const HEADER_BYTES = 16;
/** The header: Int32, the number of open cells; Float64, when that number last changed; 0 = never. */
const OPEN_CELLS = 0;
const CHANGED_AT = 8;
/** Int32 words of a cell: its server, and whether it is open. */
const SERVER = 0;
const IS_OPEN = 1;
/** Within a cell: when it opened, as Float64; then length and UTF-8 of the reason. */
const SINCE_AT = 8;
const LENGTH_AT = 16;
const REASON_AT = 20;

/** Allocates the memory in which the threads of a node share the state of the servers. */
export function makeOutages(): SharedArrayBuffer {
  return new SharedArrayBuffer(HEADER_BYTES + CELLS * CELL_BYTES);
}

/**
 * Knows which servers are away: one view for all threads of a node, in shared memory. The thread that finds a server away
 * asks it again and again, and says when it is back.
 *
 * Each thread counts its own failures: a link of one thread may be lost alone. The first failure asks the server at once,
 * so that an outage is known within a second also where calls are few.
 *
 * It shares its name alone with the breaker of the backend, which one thread holds and whose next call is the probe.
 */
export class Breaker {
  readonly #options: BreakerOptions;
  readonly #words: Int32Array;
  readonly #bytes: Buffer;
  readonly #suspects = new Map<string, Suspicion>();
  readonly #timers = new Map<string, ReturnType<typeof setTimeout>>();
  #calls = 0;
  #closed = false;

  constructor(shared: SharedArrayBuffer, options: BreakerOptions) {
    this.#options = options;
    this.#words = new Int32Array(shared);
    this.#bytes = Buffer.from(shared);
  }

  /** Whether any breaker is open, so that `outageOf` has to be called. */
  get isAnyOpen(): boolean {
    return Atomics.load(this.#words, OPEN_CELLS) !== 0;
  }

  /** When a breaker last opened or closed, in ms since the Unix epoch; 0 = never. */
  get changedMs(): number {
    return this.#bytes.readDoubleLE(CHANGED_AT);
  }

  /** Null while the server is reachable. */
  outageOf(server: string): Outage | null {
    const cell = this.#cellOf(server);
    if (Atomics.load(this.#words, cell / 4 + IS_OPEN) === 0) return null;
    const length = this.#bytes.readInt32LE(cell + LENGTH_AT);
    return {
      sinceMs: this.#bytes.readDoubleLE(cell + SINCE_AT),
      reason: this.#bytes.toString("utf8", cell + REASON_AT, cell + REASON_AT + length),
    };
  }

  /** Whether any server is suspected, so that successes have to be reported. */
  get hasSuspects(): boolean {
    return this.#suspects.size > 0;
  }

  succeeded(): void {
    this.#calls++;
  }

  /** Reports a success; called only while there are suspects. */
  cleared(server: string): void {
    const record = this.#suspects.get(server);
    if (record === undefined) return;
    record.consecutive = 0;
    if (this.#options.monotonicMs() - record.windowStartMs > WINDOW_MS) this.#suspects.delete(server);
  }

  /**
   * Records a call without an answer, and opens the breaker after too many of them. @param name the name that the call
   * was about; "" = several servers
   */
  failed(server: string, name: string, error: unknown): void {
    if (this.#closed || this.outageOf(server) !== null) return;
    const nowMs = this.#options.monotonicMs();
    const known = this.#suspects.get(server);
    const isRecent = known !== undefined && nowMs - known.windowStartMs <= WINDOW_MS;
    const record = isRecent ? known : { windowStartMs: nowMs, calls: this.#calls, failures: 0, consecutive: 0 };
    record.consecutive = (known?.consecutive ?? 0) + 1;
    record.failures++;
    this.#suspects.set(server, record);
    const calls = this.#calls - record.calls + record.failures;
    const isOften = record.failures >= MIN_FAILURES && record.failures >= calls * MIN_FAILURE_SHARE;
    if (isOften || record.consecutive >= MAX_CONSECUTIVE) this.open(server, name, error);
    else if (record.consecutive === 1) void this.#askOnce(server, name);
  }

  open(server: string, name: string, error: unknown): void {
    const cell = this.#cellOf(server);
    this.#suspects.delete(server);
    if (this.#closed || Atomics.compareExchange(this.#words, cell / 4 + IS_OPEN, 0, 1) !== 0) return;
    this.#bytes.writeDoubleLE(this.#options.clock(), CHANGED_AT);
    this.#write(cell, this.#options.clock(), problemOf(error));
    Atomics.add(this.#words, OPEN_CELLS, 1);
    this.#options.log(`${spoken(server)} is away: ${problemOf(error)}`);
    this.#probeLater(server, name, 1);
  }

  close(): void {
    this.#closed = true;
    for (const timer of this.#timers.values()) clearTimeout(timer);
    this.#timers.clear();
  }

  async #askOnce(server: string, name: string): Promise<void> {
    try {
      await this.#options.probe(name);
    } catch (error) {
      this.open(server, name, error);
    }
  }

  #probeLater(server: string, name: string, failures: number): void {
    if (this.#closed) return;
    const waitMs = backoffMs(failures, { ...PROBE, random: this.#options.random });
    this.#timers.set(
      server,
      setTimeout(() => void this.#tryToClose(server, name, failures), waitMs),
    );
  }

  async #tryToClose(server: string, name: string, failures: number): Promise<void> {
    const cell = this.#cellOf(server);
    try {
      await this.#options.probe(name);
    } catch (error) {
      this.#write(cell, this.#bytes.readDoubleLE(cell + SINCE_AT), problemOf(error));
      this.#probeLater(server, name, failures + 1);
      return;
    }
    if (this.#closed) return;
    this.#timers.delete(server);
    this.#bytes.writeDoubleLE(this.#options.clock(), CHANGED_AT);
    Atomics.sub(this.#words, OPEN_CELLS, 1);
    Atomics.store(this.#words, cell / 4 + IS_OPEN, 0);
    this.#options.log(`${spoken(server)} is back`);
  }

  /** A concurrent reader may see a torn text, which is harmless: it is only shown to people. */
  #write(cell: number, sinceMs: number, reason: string): void {
    this.#bytes.writeDoubleLE(sinceMs, cell + SINCE_AT);
    const length = this.#bytes.write(reason, cell + REASON_AT, CELL_BYTES - REASON_AT);
    this.#bytes.writeInt32LE(length, cell + LENGTH_AT);
  }

  /** The start of a server's cell, which the first call allocates. */
  #cellOf(server: string): number {
    const hash = Bun.hash.xxHash32(server, 1) | 1;
    for (let at = HEADER_BYTES; ; at += CELL_BYTES) {
      const owner = Atomics.compareExchange(this.#words, at / 4 + SERVER, 0, hash | 0);
      if (owner === 0 || owner === (hash | 0) || at === HEADER_BYTES + (CELLS - 1) * CELL_BYTES) return at;
    }
  }
}

function spoken(server: string): string {
  return server === "" ? "Redis" : `Redis at ${server}`;
}
