/**
 * Brings what waits in the outbox into the backend: in batches, several at a time, one mutation of a key at a time.
 *
 * When the backend is away, the same rows are tried again for as long as it takes, with growing pauses; a row that the
 * backend refuses for good is tried a few times and then put to the dead letters, and holds up no other.
 */

import { hasValue } from "../model/mutation.ts";
import type { OutboxEntry, OutboxRow, Settlement } from "../outbox/entry.ts";
import type { Outbox } from "../outbox/outbox.ts";
import { backoffMs } from "../runtime/backoff.ts";
import { messageOf } from "../runtime/error-message.ts";
import type { Scheduler } from "../runtime/scheduler.ts";
import { type Backend, BackendError, type BackendRow, type RowResult } from "./backend.ts";
import { PoisonRows } from "./poison-rows.ts";
import { WriteWaiters } from "./write-waiters.ts";

export interface WriteBehindOptions {
  readonly outbox: Pick<Outbox, "append" | "take" | "settle" | "counts" | "nextDueAtMs" | "onQueued">;
  readonly backend: Pick<Backend, "write">;
  /** The name of the backend's queue in the outbox. */
  readonly destination: string;
  /** How long a mutation waits for newer ones of its key, in ms (`SERV_CACHE_WRITE_BEHIND_DELAY`). */
  readonly delayMs: number;
  /** `SERV_CACHE_WRITE_BEHIND_BATCH` */
  readonly batchRows: number;
  readonly batchBytes: number;
  /** Batches under way at the same time. */
  readonly concurrency: number;
  /** Refusals of a row before it goes to the dead letters (`SERV_CACHE_WRITE_BEHIND_ATTEMPTS`). */
  readonly attempts: number;
  readonly timeoutMs: number;
  /**
   * Called for each row that the backend has, or has something newer of. Those who wait for it are told after that, or when
   * the promise that it gives is settled, which never rejects.
   */
  readonly onWritten?: (entry: OutboxEntry, isSuperseded: boolean) => Promise<void> | undefined;
  readonly backoffFirstMs: number;
  readonly backoffMaxMs: number;
  readonly scheduler: Scheduler;
  /** In [0, 1). */
  readonly random: () => number;
}

export interface WriteBehindStats {
  readonly written: number;
  readonly superseded: number;
  readonly refusals: number;
  readonly deadLetters: number;
  /** Batches that failed because the backend was away. */
  readonly failures: number;
  /** `paused`: the backend failed a moment ago. */
  readonly state: "running" | "paused" | "stopped";
  /** What the backend said last when it failed; empty = it did not fail since the last success. */
  readonly lastError: string;
}

/** When a row is tried again that has to wait for an earlier write of its key. */
const BUSY_PAUSE_MS = 1000;

export class WriteBehind {
  readonly #waiters = new WriteWaiters();
  readonly #suspects = new PoisonRows();
  readonly #ending = new AbortController();
  #running = 0;
  #failuresInARow = 0;
  #pausedUntilMs = 0;
  #batchRows: number;
  #isStarted = false;
  /** End of the drain under way, by the monotonic clock; null = there is none. */
  #drainUntilMs: number | null = null;
  #cancelTimer: (() => void) | null = null;
  #whenIdle: (() => void)[] = [];
  /** To be called when the settlements of now are durable. */
  readonly #toTell: (() => void)[] = [];
  #counts = { written: 0, superseded: 0, refusals: 0, deadLetters: 0, failures: 0 };
  #lastError = "";

  constructor(private readonly options: WriteBehindOptions) {
    this.#batchRows = options.batchRows;
  }

  /** Begins to write what waits, also from before a restart. */
  start(): void {
    this.#isStarted = true;
    this.options.outbox.onQueued(this.options.destination, () => this.#pump());
    this.#pump();
  }

  /**
   * Appends a mutation and resolves when the backend has it, or something newer of its key.
   * Rejects with `BackendError`: refused (then it is kept nowhere), or not written in time (then it stays in the outbox
   * and is written later). Throws `OutboxFullError` like the outbox.
   */
  async writeThrough(row: OutboxRow): Promise<void> {
    const waiter = this.#waiters.add(row.key, row.mutation.stamp.version);
    const cancel = this.options.scheduler.after(this.options.timeoutMs, () => waiter.timeOut());
    try {
      await Promise.all([this.options.outbox.append([row]), waiter.promise]);
    } finally {
      cancel();
      waiter.remove();
    }
  }

  /** Whether somebody waits for a write of the key, and would be told if the backend refused it. */
  isAwaited(key: string): boolean {
    return this.#waiters.has(key);
  }

  /**
   * Writes without delay until the time is over, or nothing waits but rows whose next attempt comes later than that; gives
   * how much still waits. It goes on after.
   */
  async drain(limitMs: number): Promise<number> {
    this.#drainUntilMs = this.options.scheduler.monotonicMs() + limitMs;
    const { promise, resolve } = Promise.withResolvers<void>();
    const cancel = this.options.scheduler.after(limitMs, resolve);
    this.#whenIdle.push(resolve);
    this.#pump();
    await promise;
    cancel();
    return this.#pending();
  }

  /** Cuts what is under way; resolves when nothing is. What was not acknowledged stays in the outbox. */
  async stop(): Promise<void> {
    this.#isStarted = false;
    this.#cancelTimer?.();
    this.#ending.abort();
    this.#waiters.endAll();
    if (this.#running === 0) return;
    await new Promise<void>((resolve) => this.#whenIdle.push(resolve));
  }

  stats(): WriteBehindStats {
    const isPaused = this.options.scheduler.monotonicMs() < this.#pausedUntilMs;
    const state = this.#isStarted ? (isPaused ? "paused" : "running") : "stopped";
    return { ...this.#counts, state, lastError: this.#lastError };
  }

  #pump(): void {
    this.#cancelTimer?.();
    this.#cancelTimer = null;
    const { concurrency, scheduler } = this.options;
    const nowMs = scheduler.monotonicMs();
    if (this.#isStarted && nowMs < this.#pausedUntilMs) {
      this.#wakeIn(this.#pausedUntilMs - nowMs);
      return;
    }
    // While it fails, one batch at a time shows whether the backend is back.
    const limit = this.#failuresInARow > 0 ? 1 : concurrency;
    while (this.#isStarted && this.#running < limit) {
      const batch = this.#take();
      if (batch.length === 0) break;
      this.#running += 1;
      void this.#write(batch);
    }
    this.#rest();
  }

  #take(): OutboxEntry[] {
    const { outbox, destination, batchBytes, delayMs, scheduler } = this.options;
    const isUrgent = this.#drainUntilMs !== null || this.#waiters.size > 0;
    try {
      return outbox.take(destination, {
        // PoisonRows are due first; they are not to fill a small batch by themselves.
        limitEntries: this.#batchRows + this.#suspects.size,
        limitBytes: batchBytes,
        queuedUntilMs: scheduler.nowMs() - (isUrgent ? 0 : delayMs),
      });
    } catch (error) {
      // The disk, not the backend: what waits is looked at again a little later.
      this.#lastError = `the outbox can't be read: ${messageOf(error)}`;
      return [];
    }
  }

  /** Sees to the next call of `#pump`, or tells those who wait for the end. */
  #rest(): void {
    const isIdle = this.#running === 0 && (!this.#isStarted || this.#pending() === 0);
    if (isIdle || (this.#running === 0 && this.#isDrained())) {
      for (const resolve of this.#whenIdle.splice(0)) resolve();
    }
    if (isIdle || !this.#isStarted || this.#running >= this.options.concurrency) return;
    const { outbox, destination, delayMs, scheduler } = this.options;
    const { pending, inFlight } = outbox.counts(destination);
    if (pending <= inFlight) return;
    const dueAtMs = outbox.nextDueAtMs(destination) ?? Number.POSITIVE_INFINITY;
    const dueInMs = Math.max(1, dueAtMs - scheduler.nowMs());
    this.#wakeIn(Math.min(Math.max(1, delayMs), dueInMs));
  }

  /** To be asked when nothing is under way and nothing could be taken: what is left then is postponed. */
  #isDrained(): boolean {
    if (this.#drainUntilMs === null) return false;
    const { outbox, destination, scheduler } = this.options;
    const dueInMs = (outbox.nextDueAtMs(destination) ?? Number.POSITIVE_INFINITY) - scheduler.nowMs();
    return dueInMs > this.#drainUntilMs - scheduler.monotonicMs();
  }

  #wakeIn(ms: number): void {
    this.#cancelTimer = this.options.scheduler.after(ms, () => this.#pump());
  }

  /** What was refused before is written after the others, and apart from them: it would make their statements fail. */
  async #write(batch: readonly OutboxEntry[]): Promise<void> {
    const alone: OutboxEntry[] = [];
    const refused: OutboxEntry[] = [];
    const crowd: OutboxEntry[] = [];
    for (const entry of batch) {
      (this.#suspects.has(entry.key) ? alone : entry.attempts > 0 ? refused : crowd).push(entry);
    }
    if (crowd.length > 0) this.#judge(await this.#writeAll(crowd));
    if (refused.length > 0) this.#judge(await this.#writeAll(refused, { isEachAlone: true }));
    await this.#writeAlone(alone, crowd.length > 0);
    this.#running -= 1;
    this.#pump();
  }

  /** While the backend is away, one suspect at most is tried: they say nothing that the others don't. */
  async #writeAlone(suspects: readonly OutboxEntry[], isCrowdTried: boolean): Promise<void> {
    let mayTry = !isCrowdTried || this.#failuresInARow === 0;
    for (const entry of suspects) {
      if (!mayTry) {
        const dueAtMs = this.options.scheduler.nowMs() + this.#pauseMs(this.#failuresInARow);
        await this.#settle([{ kind: "postponed", entry, reason: this.#lastError, dueAtMs }]);
        continue;
      }
      const results = await this.#writeAll([entry]);
      if (this.#failuresInARow > 0) this.#judge(results);
      mayTry = this.#failuresInARow === 0;
    }
  }

  async #writeAll(batch: readonly OutboxEntry[], how: { isEachAlone?: boolean } = {}): Promise<RowResult[]> {
    const { backend, timeoutMs } = this.options;
    let results: RowResult[];
    try {
      results = await backend.write(batch.map(rowOf), {
        timeoutMs,
        signal: this.#ending.signal,
        traceparents: batch.map((entry) => entry.mutation.traceContext),
        ...how,
      });
    } catch (error) {
      // A backend reports failures row by row; one that throws is treated as one that is away.
      const failure = new BackendError("ERR_BACKEND_UNAVAILABLE", String(error), { cause: error });
      results = batch.map(() => ({ kind: "retry", error: failure }));
    }
    const settlements = batch.map((entry, i) => this.#settlement(entry, results[i] ?? NOTHING_SAID, batch.length));
    const toTell = this.#toTell.splice(0);
    await this.#settle(settlements);
    for (const tell of toTell) tell();
    return results;
  }

  /** Where the outbox can't be written now it tries again on its own; until then the rows stay in flight. */
  async #settle(settlements: readonly Settlement[]): Promise<void> {
    await this.options.outbox.settle(settlements).catch(() => {});
  }

  /** What the batch says about the backend: pause and smaller batches, or full speed. */
  #judge(results: readonly RowResult[]): void {
    const { batchRows, scheduler } = this.options;
    const failed = results.find((result) => result.kind === "retry" && !isHeld(result.error) && !result.failedAlone);
    if (failed?.kind !== "retry") {
      this.#failuresInARow = 0;
      this.#lastError = "";
      this.#pausedUntilMs = 0;
      this.#batchRows = Math.min(batchRows, this.#batchRows * 2);
      return;
    }
    this.#failuresInARow += 1;
    this.#counts.failures += 1;
    this.#lastError = failed.error.message;
    this.#pausedUntilMs = scheduler.monotonicMs() + this.#pauseMs(this.#failuresInARow);
    // It may be one row that makes the whole batch fail (too long for the server, say): look for it.
    this.#batchRows = Math.max(1, this.#batchRows >> 1);
  }

  #settlement(entry: OutboxEntry, result: RowResult, batchLength: number): Settlement {
    const nowMs = this.options.scheduler.nowMs();
    switch (result.kind) {
      case "written":
      case "superseded":
        this.#counts[result.kind] += 1;
        this.#suspects.clear(entry.key);
        this.#tellWritten(entry, result.kind === "superseded");
        return { kind: "done", entry };
      case "retry": {
        if (isHeld(result.error)) {
          return { kind: "postponed", entry, reason: result.error.message, dueAtMs: nowMs + BUSY_PAUSE_MS };
        }
        if (result.failedAlone === true) return this.#refused(entry, result.error.message, nowMs);
        if (batchLength > 1 || this.#ending.signal.aborted) return { kind: "released", entry };
        const pauseMs = this.#pauseMs(this.#suspects.failed(entry.key));
        return { kind: "postponed", entry, reason: result.error.message, dueAtMs: nowMs + pauseMs };
      }
      case "refused":
        return this.#refusal(entry, result.reason, nowMs);
    }
  }

  #tellWritten(entry: OutboxEntry, isSuperseded: boolean): void {
    const seenTo = this.options.onWritten?.(entry, isSuperseded);
    const done = () => this.#waiters.done(entry.key, entry.mutation.stamp.version);
    if (seenTo === undefined) done();
    else void seenTo.then(done);
  }

  #refusal(entry: OutboxEntry, reason: string, nowMs: number): Settlement {
    // Who waits for the answer is told, so nothing has to be kept for him; told when it is gone.
    if (this.#waiters.waitsFor(entry.key, entry.mutation.stamp.version)) {
      this.#toTell.push(() => this.#waiters.refused(entry.key, entry.mutation.stamp.version, reason));
      this.#counts.refusals += 1;
      this.#suspects.clear(entry.key);
      return { kind: "done", entry };
    }
    return this.#refused(entry, reason, nowMs);
  }

  #refused(entry: OutboxEntry, reason: string, nowMs: number): Settlement {
    this.#counts.refusals += 1;
    this.#suspects.clear(entry.key);
    const tries = entry.attempts + 1;
    if (tries >= this.options.attempts) {
      this.#counts.deadLetters += 1;
      return { kind: "refused", entry, reason, dueAtMs: null };
    }
    return { kind: "refused", entry, reason, dueAtMs: nowMs + this.#pauseMs(tries) };
  }

  #pauseMs(failures: number): number {
    const { backoffFirstMs, backoffMaxMs, random } = this.options;
    return backoffMs(failures, { firstMs: backoffFirstMs, maxMs: backoffMaxMs, random });
  }

  #pending(): number {
    return this.options.outbox.counts(this.options.destination).pending;
  }
}

/** A row that waits for an earlier write of its key says nothing about the backend. */
function isHeld(error: BackendError): boolean {
  return error.code === "ERR_BACKEND_BUSY";
}

const NOTHING_SAID: RowResult = {
  kind: "retry",
  error: new BackendError("ERR_BACKEND_ANSWER", "the backend said nothing about a row"),
};

function rowOf({ key, mutation }: OutboxEntry): BackendRow {
  const { version } = mutation.stamp;
  return hasValue(mutation) ? { kind: "put", key, value: mutation.value, version } : { kind: "delete", key, version };
}
