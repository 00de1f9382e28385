import type { BackingStore, Loaded } from "../../src/cache/backing-store.ts";
import type { CacheLink } from "../../src/cache/cache.ts";
import type { CommitLog } from "../../src/cache/commit-log.ts";
import type { DeadWrite, OperatorPort, PartHealth, PeerRequest, PeerResponse } from "../../src/cache/operator-port.ts";
import { UpstreamError } from "../../src/cache/upstream-error.ts";
import { type Completion, told } from "../../src/model/completion.ts";
import { hasValue, type Mutation } from "../../src/model/mutation.ts";
import type { MetricFamily } from "../../src/telemetry/metric-family.ts";

/** What is behind a cache, in memory: it keeps what it is told, and a test says how it answers. */
export class FakeUpstream implements CommitLog, BackingStore, OperatorPort {
  loads = true;
  deletes = false;
  tombstoneMs = 6_000;
  refreshAheadMs = 0;
  /** What a cache is linked to. */
  get link(): Pick<CacheLink, "traits" | "commitLog" | "backingStore"> {
    return { traits: this, commitLog: this, backingStore: this.loads ? this : null };
  }

  readonly recorded: Mutation[] = [];
  readonly loaded: string[] = [];
  readonly refreshed: string[] = [];
  /** What operators see, and what they asked for. */
  parts: Record<string, PartHealth> = {};
  counted: Record<string, unknown> = {};
  families: MetricFamily[] = [];
  dead: DeadWrite[] = [];
  readonly asked: string[] = [];
  /** Called with each mutation before it is kept; what it throws is what `record` rejects with. */
  onRecord: (mutation: Mutation) => void | Promise<void> = () => {};
  /** What a load gives, after it has put it into the engine as a hub does. */
  onLoad: (key: string) => Loaded | Promise<Loaded> = () => ({ kind: "absent" });

  /** What a peer is answered; null = there are no peers. */
  onReplicate: (request: PeerRequest) => PeerResponse | null = () => null;

  async replicate(request: PeerRequest): Promise<PeerResponse | null> {
    return this.onReplicate(request);
  }

  commit(mutation: Mutation, completion: Completion<void>): boolean {
    void told(this.#record(mutation), completion);
    return false;
  }

  async #record(mutation: Mutation): Promise<void> {
    await this.onRecord(mutation);
    this.recorded.push(mutation);
  }

  async load(key: string): Promise<Loaded> {
    this.loaded.push(key);
    return this.onLoad(key);
  }

  refresh(key: string): void {
    this.refreshed.push(key);
  }

  health(): Record<string, PartHealth> {
    this.asked.push("health");
    return this.parts;
  }

  stats(): Record<string, unknown> {
    this.asked.push("stats");
    return this.counted;
  }

  metrics(): readonly MetricFamily[] {
    this.asked.push("metrics");
    return this.families;
  }

  async deadLetters(afterId: number, limit: number): Promise<readonly DeadWrite[]> {
    return this.dead.filter((letter) => letter.id > afterId).slice(0, limit);
  }

  async retryDead(ids: readonly number[] | null): Promise<number> {
    this.asked.push(`retry ${ids ?? "all"}`);
    return ids?.length ?? this.dead.length;
  }

  async dropDead(ids: readonly number[] | null): Promise<number> {
    this.asked.push(`drop ${ids ?? "all"}`);
    return ids?.length ?? this.dead.length;
  }
}

export function outboxFull(): UpstreamError {
  return new UpstreamError("ERR_OUTBOX_FULL", "the outbox is full; try again", 1_000, false);
}

/** A write through that failed, and is written later all the same. */
export function notInTime(): UpstreamError {
  return new UpstreamError("ERR_BACKEND_TIMEOUT", "the backend did not take the write in time", 1_000, true);
}

/** A mutation in a line: kind, key and value. */
export function shownMutation(mutation: Mutation): string {
  if (mutation.kind === "invalidate") return `invalidate ${mutation.pattern ?? "all"}`;
  return `${mutation.kind} ${mutation.key}${hasValue(mutation) ? `=${mutation.value.bytes}` : ""}`;
}
