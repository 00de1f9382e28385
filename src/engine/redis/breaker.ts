import { messageOf } from "./errors.ts";

interface BreakerOptions {
  readonly clock: () => number;
  readonly random: () => number;
  /** Resolves when Redis answers again. */
  readonly probe: () => Promise<void>;
  /** What must be done before calls go to Redis again; rejects if Redis went away meanwhile. */
  readonly recover: () => Promise<void>;
  /** Whether nothing came since `recover` that it would have to do. */
  readonly isRecovered: () => boolean;
  readonly onChange: (outage: Outage | null) => void;
}

export interface Outage {
  readonly sinceMs: number;
  readonly reason: string;
}

/** Failures within the window that open the breaker, if they are at least this share of the calls. */
const MIN_FAILURES = 5;
const MIN_FAILURE_SHARE = 0.05;
const WINDOW_MS = 1000;
const PROBE_FROM_MS = 50;
const PROBE_TO_MS = 500;

/** Knows whether Redis is away; while it is, asks it again and again, and recovers when it answers. */
export class Breaker {
  readonly #options: BreakerOptions;
  #outage: Outage | null = null;
  #windowStartMs = 0;
  #calls = 0;
  #failures = 0;
  #timer: ReturnType<typeof setTimeout> | null = null;
  #closed = false;

  constructor(options: BreakerOptions) {
    this.#options = options;
  }

  /** Null while Redis is there. */
  get outage(): Outage | null {
    return this.#outage;
  }

  succeeded(): void {
    this.#calls++;
  }

  /** Notes a failed call, and opens when there are too many. */
  failed(error: unknown): void {
    const nowMs = this.#options.clock();
    if (Math.abs(nowMs - this.#windowStartMs) > WINDOW_MS) {
      this.#windowStartMs = nowMs;
      this.#calls = 0;
      this.#failures = 0;
    }
    this.#calls++;
    this.#failures++;
    if (this.#failures >= MIN_FAILURES && this.#failures >= this.#calls * MIN_FAILURE_SHARE) this.open(error);
  }

  open(error: unknown): void {
    if (this.#outage !== null || this.#closed) return;
    this.#outage = { sinceMs: this.#options.clock(), reason: messageOf(error) };
    this.#options.onChange(this.#outage);
    this.#probeLater(PROBE_FROM_MS);
  }

  close(): void {
    this.#closed = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
  }

  #probeLater(delayMs: number): void {
    if (this.#closed) return;
    this.#timer = setTimeout(() => void this.#tryToRecover(delayMs), delayMs * (1 - this.#options.random() / 4));
  }

  async #tryToRecover(delayMs: number): Promise<void> {
    try {
      await this.#options.probe();
      do await this.#options.recover();
      while (!this.#options.isRecovered());
    } catch (error) {
      if (this.#outage !== null) this.#outage = { ...this.#outage, reason: messageOf(error) };
      this.#probeLater(Math.min(PROBE_TO_MS, delayMs * 2));
      return;
    }
    // In the same turn as the check: calls that come from now on go to Redis.
    this.#outage = null;
    this.#windowStartMs = 0;
    this.#options.onChange(null);
  }
}
