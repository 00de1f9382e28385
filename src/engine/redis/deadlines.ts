import { CommandTimeoutError } from "./errors.ts";

/** A command with a deadline. */
export interface Deferred {
  readonly name: string;
  readonly isSettled: boolean;
  reject(error: Error): void;
}

interface DeadlineOptions {
  readonly timeoutMs: number;
  /** Bytes of replies received so far over the single connection; null = there are several. */
  readonly arrivedBytes: () => number | null;
}

interface Waiting {
  readonly command: Deferred;
  readonly bytes: number;
  readonly sinceMs: number;
  dueMs: number;
}

/** The slowest link that large values are waited for: 16 Mbit/s. */
const SLOWEST_BYTES_PER_MS = 2_000;
/** About the time for 16 MiB at that rate. */
const MAX_EXTENSION_MS = 8_000;

/**
 * Rejects commands without a reply in time. All have the same timeout, so the oldest is always due first: one timer
 * serves all of them; a timer for each would cost more than the command.
 *
 * The timeout is meant for a server that does not answer, not for a busy link: a command gets extra time for the bytes
 * that are sent with it or queued before it, and a reply may continue as long as it arrives at the pace of a link.
 */
export class Deadlines {
  readonly #options: DeadlineOptions;
  #waiting: Waiting[] = [];
  #first = 0;
  #timer: ReturnType<typeof setTimeout> | null = null;
  /** Bytes of the commands in `#waiting` from `#first` on. */
  #sentBytes = 0;
  /** Bytes received at a time between half a timeout and a whole timeout ago, if it was measured. */
  #earlier = { ms: 0, bytes: 0 };
  #latest = { ms: 0, bytes: 0 };

  constructor(options: DeadlineOptions) {
    this.#options = options;
  }

  /** @param bytes size of the command, if it is large */
  watch(command: Deferred, bytes = 0): void {
    this.#dropSettled();
    const sinceMs = performance.now();
    const { timeoutMs } = this.#options;
    this.#sentBytes += bytes;
    this.#waiting.push({
      command,
      bytes,
      sinceMs,
      dueMs: sinceMs + timeoutMs + this.#sentBytes / SLOWEST_BYTES_PER_MS,
    });
    this.#sample(sinceMs);
    this.#timer ??= setTimeout(this.#expire, timeoutMs);
  }

  stop(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    this.#waiting = [];
    this.#first = 0;
    this.#sentBytes = 0;
  }

  readonly #expire = (): void => {
    this.#timer = null;
    const nowMs = performance.now();
    const { timeoutMs } = this.#options;
    for (let head = this.#head(); head !== undefined && head.dueMs <= nowMs; head = this.#head()) {
      if (nowMs - head.sinceMs < MAX_EXTENSION_MS && this.#isReceiving(nowMs)) {
        head.dueMs = nowMs + timeoutMs / 2;
        break;
      }
      head.command.reject(new CommandTimeoutError(head.command.name, Math.round(nowMs - head.sinceMs)));
    }
    this.#sample(nowMs);
    const next = this.#head();
    if (next !== undefined) this.#timer = setTimeout(this.#expire, Math.max(1, next.dueMs - nowMs));
  };

  /** Whether so many bytes arrived recently that a large reply must be in flight. */
  #isReceiving(nowMs: number): boolean {
    const arrived = this.#options.arrivedBytes();
    if (arrived === null) return false;
    const { ms, bytes } = this.#earlier;
    return arrived - bytes >= Math.min(nowMs - ms, this.#options.timeoutMs) * SLOWEST_BYTES_PER_MS;
  }

  #sample(nowMs: number): void {
    if (nowMs - this.#latest.ms < this.#options.timeoutMs / 2) return;
    this.#earlier = this.#latest;
    this.#latest = { ms: nowMs, bytes: this.#options.arrivedBytes() ?? 0 };
  }

  /** The oldest waiting command. */
  #head() {
    this.#dropSettled();
    return this.#waiting[this.#first];
  }

  #dropSettled(): void {
    for (let head = this.#waiting[this.#first]; head?.command.isSettled; head = this.#waiting[this.#first]) {
      this.#sentBytes -= head.bytes;
      this.#first++;
    }
    if (this.#first > 256 && this.#first * 2 > this.#waiting.length) {
      this.#waiting = this.#waiting.slice(this.#first);
      this.#first = 0;
    }
  }
}
