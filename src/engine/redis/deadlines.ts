import { CommandTimeoutError } from "./errors.ts";

/** What a deadline is kept for. */
export interface Deferred {
  readonly name: string;
  readonly isSettled: boolean;
  reject(error: Error): void;
}

/**
 * Rejects commands that get no reply in time. All have the same timeout, so the oldest is always due first: one timer
 * serves them all, where a timer each would cost more than the command.
 */
export class Deadlines {
  readonly #timeoutMs: number;
  #waiting: { command: Deferred; dueMs: number }[] = [];
  #first = 0;
  #timer: ReturnType<typeof setTimeout> | null = null;

  constructor(timeoutMs: number) {
    this.#timeoutMs = timeoutMs;
  }

  watch(command: Deferred): void {
    this.#dropSettled();
    this.#waiting.push({ command, dueMs: performance.now() + this.#timeoutMs });
    this.#timer ??= setTimeout(this.#expire, this.#timeoutMs);
  }

  stop(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    this.#waiting = [];
    this.#first = 0;
  }

  readonly #expire = (): void => {
    this.#timer = null;
    const nowMs = performance.now();
    for (let head = this.#head(); head !== undefined && head.dueMs <= nowMs; head = this.#head()) {
      this.#first++;
      head.command.reject(new CommandTimeoutError(head.command.name, this.#timeoutMs));
    }
    const next = this.#head();
    if (next !== undefined) this.#timer = setTimeout(this.#expire, Math.max(1, next.dueMs - nowMs));
  };

  /** The oldest that still waits. */
  #head() {
    this.#dropSettled();
    return this.#waiting[this.#first];
  }

  #dropSettled(): void {
    while (this.#waiting[this.#first]?.command.isSettled) this.#first++;
    if (this.#first > 256 && this.#first * 2 > this.#waiting.length) {
      this.#waiting = this.#waiting.slice(this.#first);
      this.#first = 0;
    }
  }
}
