/**
 * Finds out whether the backend can be used before anybody needs it: looks at the start, and again with growing pauses
 * until it can. A wrong password or host shows in `/health` and in the log, and not only in the first reader's answer.
 */

import { backoffMs } from "../runtime/backoff.ts";
import { messageOf } from "../runtime/error-message.ts";
import type { Scheduler } from "../runtime/scheduler.ts";
import type { Backend } from "./backend.ts";

export interface ReachabilityOptions {
  readonly backend: Pick<Backend, "check">;
  readonly timeoutMs: number;
  readonly backoffFirstMs: number;
  readonly backoffMaxMs: number;
  readonly scheduler: Scheduler;
  /** In [0, 1). */
  readonly random: () => number;
}

export class Reachability {
  readonly #ending = new AbortController();
  #failures = 0;
  #problem = "";
  #cancelTimer: () => void = () => {};

  constructor(private readonly options: ReachabilityOptions) {}

  /** Why the backend could not be used when it was looked at last; empty = it could, or the first look is not over. */
  get problem(): string {
    return this.#problem;
  }

  start(): void {
    void this.#look();
  }

  stop(): void {
    this.#ending.abort();
    this.#cancelTimer();
  }

  async #look(): Promise<void> {
    const { backend, timeoutMs, scheduler } = this.options;
    try {
      await backend.check({ timeoutMs, signal: this.#ending.signal });
      this.#problem = "";
    } catch (error) {
      if (this.#ending.signal.aborted) return;
      this.#problem = messageOf(error);
      this.#failures += 1;
      this.#cancelTimer = scheduler.after(this.#pauseMs(), () => void this.#look());
    }
  }

  #pauseMs(): number {
    const { backoffFirstMs: firstMs, backoffMaxMs: maxMs, random } = this.options;
    return backoffMs(this.#failures, { firstMs, maxMs, random });
  }
}
