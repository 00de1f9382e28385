/**
 * Mutations that the engine on a server could not be told: recorded for the database and the peers, acknowledged, and on
 * their way to the engine through the outbox like those to any other destination. They are applied with their stamps, in
 * whatever order: the engine keeps the newer one.
 */

import type { PendingFlags } from "../cache/away-engine.ts";
import { EntryCapture } from "../cache/entry-capture.ts";
import type { PartState } from "../cache/operator-port.ts";
import type { RecentInvalidations } from "../cache/recent-invalidations.ts";
import type { Engine } from "../engine/engine.ts";
import { NO_TOMBSTONE } from "../model/entry.ts";
import { Glob } from "../model/glob.ts";
import { VERSIONS_PER_MS } from "../model/hybrid-clock.ts";
import { keyOf } from "../model/key.ts";
import { asOf, hasValue, type Mutation, type PutMutation } from "../model/mutation.ts";
import { isNewer, type Stamp } from "../model/stamp.ts";
import { type OutboxEntry, rowOf } from "../outbox/entry.ts";
import type { Outbox } from "../outbox/outbox.ts";
import { messageOf } from "../runtime/error-message.ts";
import type { Scheduler } from "../runtime/scheduler.ts";

/** The engine's queue in the outbox. */
export const ENGINE = "engine";

export interface PendingWritesOptions {
  readonly outbox: Outbox;
  readonly engine: Engine;
  readonly invalidations: RecentInvalidations;
  readonly flags: PendingFlags;
  readonly scheduler: Scheduler;
  /** How long a delete is remembered in the engine, in ms. */
  readonly tombstoneMs: number;
  /** Records what turned out to be done. */
  readonly record: (mutation: PutMutation) => Promise<void>;
}

const BATCH = { limitEntries: 128, limitBytes: 8 * 1024 * 1024 };
/** Longer than a mutation is on its way to the engine after it was recorded. */
const RECENT_MS = 10_000;
const RETRY_MS = 250;

export class PendingWrites {
  readonly #options: PendingWritesOptions;
  /** Appends whose commits are not done. */
  #appending = 0;
  /** Mutations of which it is not known whether the engine has them, by key; nobody was told that they are done. */
  readonly #doubtful = new Map<string, Stamp>();
  #running: Promise<void> | null = null;
  #cancelRetry: () => void = () => {};
  #reason = "";
  #stopped = false;

  /** From then on, what waits from before a restart is what its keys hold. */
  constructor(options: PendingWritesOptions) {
    this.#options = options;
    const { outbox, flags, invalidations } = options;
    const untold = this.#perhapsUntold();
    for (const mutation of [...outbox.recent(ENGINE, 0), ...untold]) {
      flags.add(mutation.kind === "invalidate" ? "invalidate" : "put");
      if (mutation.kind === "invalidate") invalidations.add(mutation.pattern, mutation.stamp);
    }
    if (untold.length === 0) return;
    this.#appending++;
    const told = outbox.appendOwed(untold.map((mutation) => rowOf(ENGINE, mutation))).finally(() => {
      this.#appending--;
      this.#wake();
    });
    // The disk is full: the engine has what it had.
    told.catch(() => {});
  }

  /** What was recorded for others right before the process ended: the engine may not have it, and they will. */
  #perhapsUntold(): Mutation[] {
    const { outbox } = this.#options;
    const sinceVersion = outbox.newestVersion - RECENT_MS * VERSIONS_PER_MS;
    const others = outbox.destinations().filter((destination) => destination !== ENGINE);
    return others.flatMap((destination) => outbox.recent(destination, sinceVersion));
  }

  start(): void {
    this.#options.outbox.onQueued(ENGINE, () => this.#wake());
    this.#wake();
  }

  /** Settles when it is durable; rejects with `OutboxFullError` where the disk is full. */
  async keep(mutation: Mutation): Promise<void> {
    const { outbox, flags } = this.#options;
    this.#appending++;
    flags.add(mutation.kind);
    try {
      await outbox.appendOwed([rowOf(ENGINE, mutation)]);
    } finally {
      this.#appending--;
      this.#wake();
    }
  }

  /** What of a key waits; null = nothing. */
  of(key: string): Mutation | null {
    return this.#options.outbox.pendingValue(ENGINE, key);
  }

  /** Whether something waits that replaces what the engine has of a key. */
  hides(key: string, stamp: Stamp): boolean {
    const { flags, outbox, invalidations } = this.#options;
    if (!flags.hasAny) return false;
    const row = outbox.pendingValue(ENGINE, key);
    if (row !== null && isNewer(row.stamp, stamp)) return true;
    return flags.hasInvalidations && invalidations.covering(keyOf(key), stamp) !== null;
  }

  /** The engine may have done a mutation with this stamp that is not recorded: when it answers, it is looked at. */
  doubt(key: string, stamp: Stamp): void {
    this.#doubtful.set(key, stamp);
    this.#wake();
  }

  health(): PartState {
    const { pending } = this.#options.outbox.counts(ENGINE);
    const writes = pending === 1 ? "1 write waits" : `${pending} writes wait`;
    return {
      status: pending === 0 ? "ok" : "degraded",
      detail: pending === 0 ? "" : `${writes} for the engine${this.#reason === "" ? "" : `: ${this.#reason}`}`,
      facts: { writes: pending },
    };
  }

  /** Gives how many still wait when the time is over. */
  async drain(limitMs: number): Promise<number> {
    const { outbox, scheduler } = this.#options;
    const over = Promise.withResolvers<void>();
    const cancel = scheduler.after(limitMs, over.resolve);
    let isOver = false;
    over.promise.then(() => {
      isOver = true;
    });
    while (!isOver && outbox.counts(ENGINE).pending > 0) {
      const tried = Promise.withResolvers<void>();
      scheduler.after(RETRY_MS, tried.resolve);
      await Promise.race([tried.promise, over.promise]);
    }
    cancel();
    return outbox.counts(ENGINE).pending;
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#cancelRetry();
    await this.#running;
  }

  #wake(): void {
    if (this.#running !== null || this.#stopped) return;
    this.#cancelRetry();
    this.#running = this.#run().finally(() => {
      this.#running = null;
      if (this.#isDone()) this.#options.flags.clear();
      else if (!this.#stopped) this.#cancelRetry = this.#options.scheduler.after(RETRY_MS, () => this.#wake());
    });
  }

  #isDone(): boolean {
    return this.#appending === 0 && this.#doubtful.size === 0 && this.#options.outbox.counts(ENGINE).pending === 0;
  }

  /** Applies what waits until nothing does, or the engine refuses. Never rejects. */
  async #run(): Promise<void> {
    const { outbox, scheduler } = this.#options;
    while (!this.#stopped) {
      const entries = outbox.take(ENGINE, { ...BATCH, queuedUntilMs: scheduler.nowMs() });
      if (entries.length === 0) break;
      const failures = await Promise.all(entries.map((entry) => this.#apply(entry).then(() => null, messageOf)));
      const failed = failures.find((failure) => failure !== null) ?? "";
      this.#reason = failed;
      const settled = entries.map(
        (entry, at) => ({ kind: failures[at] === null ? "done" : "released", entry }) as const,
      );
      await outbox.settle(settled).catch(() => {});
      if (failed !== "") return;
    }
    await this.#lookAtDoubtful();
  }

  async #apply(entry: OutboxEntry): Promise<void> {
    const { engine, invalidations, scheduler, tombstoneMs } = this.#options;
    const mutation = asOf(entry.mutation, scheduler.nowMs());
    const { stamp } = mutation;
    if (mutation.kind === "invalidate") {
      const { pattern } = mutation;
      await (pattern === null ? engine.clear(stamp) : engine.deleteMatching(Glob.parse(pattern), stamp));
      return;
    }
    const key = keyOf(mutation.key);
    const newer = invalidations.covering(key, stamp);
    if (!hasValue(mutation) || newer !== null) {
      const tombstoneUntilMs = tombstoneMs === 0 ? NO_TOMBSTONE : scheduler.nowMs() + tombstoneMs;
      await engine.delete({ key, stamp: newer ?? stamp, condition: null, tombstoneUntilMs });
      return;
    }
    const { value, expiresAtMs } = mutation;
    const { bytes } = value;
    const range = { source: bytes, start: 0, end: bytes.length };
    await engine.put({ key, ...range, attributes: value, expiresAtMs, stamp, condition: null });
  }

  /** What was done is recorded, so that the database and the peers have it as well. */
  async #lookAtDoubtful(): Promise<void> {
    for (const [key, stamp] of this.#doubtful) {
      const capture = new EntryCapture();
      try {
        const entry = (await this.#options.engine.peek(keyOf(key), capture)) ? capture.entry() : null;
        if (entry !== null && entry.stamp.version === stamp.version && entry.stamp.nodeId === stamp.nodeId) {
          const put = { kind: "put", key, ...entry } as const;
          await this.#options.record(put);
        }
        if (this.#doubtful.get(key) === stamp) this.#doubtful.delete(key);
      } catch {
        return;
      }
    }
  }
}
