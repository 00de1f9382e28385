/**
 * Delivers the queue of one peer: says hello, then sends numbered batches, several at a time, and settles what the peer
 * has acknowledged. A failing peer is retried with increasing pauses, one hello at a time; other peers are not
 * affected, because each has its own link.
 */

import type { HybridClock } from "../model/hybrid-clock.ts";
import { asOf, hasValue, type Mutation, valueBytes, withoutValue } from "../model/mutation.ts";
import { isNewer, type Stamp, toVersion, type Version } from "../model/stamp.ts";
import type { OutboxEntry, Settlement } from "../outbox/entry.ts";
import type { Awaitable } from "../runtime/awaitable.ts";
import { backoffMs } from "../runtime/backoff.ts";
import { messageOf } from "../runtime/error-message.ts";
import type { Scheduler } from "../runtime/scheduler.ts";
import { Bandwidth } from "./bandwidth.ts";
import { LegacyCalls } from "./legacy-calls.ts";
import { LinkStats } from "./link-stats.ts";
import type { NodeIdentity } from "./node-identity.ts";
import type { NodeState } from "./node-state.ts";
import type { OwnRows } from "./own-rows.ts";
import { type Caller, PeerCallError } from "./peer-caller.ts";
import type { PeerOutbox, PeerQueue } from "./peer-queue.ts";
import { UnplacedPuts } from "./unplaced-puts.ts";
import { OwnWatermark } from "./watermark.ts";
import { type Message, PROTOCOL } from "./wire/message.ts";

export interface PeerLinkOptions {
  readonly name: string;
  readonly caller: Caller;
  readonly queue: PeerQueue;
  readonly outbox: PeerOutbox;
  readonly state: Pick<NodeState, "wasDelivered" | "noteDelivered">;
  readonly destination: string;
  readonly node: NodeIdentity;
  readonly clock: HybridClock;
  readonly scheduler: Scheduler;
  /** In [0, 1). */
  readonly random: () => number;
  /**
   * Called for a put of ours that lost to a newer mutation of the peer: it is to be dropped here. Rejects if that is
   * not possible now.
   */
  readonly onLost: (key: string, newer: Stamp) => Awaitable<unknown>;
  /** Called with a stamp that the peer has made or seen. */
  readonly onStamp: (version: Version) => void;
  /**
   * The version up to which the peer may assume that these puts are newer than all mutations it ever knew; 0 = none.
   */
  readonly knownUntil: (batch: readonly OutboxEntry[]) => Version;
  readonly rows: Pick<OwnRows, "isInvalidated" | "isUnsureForGood">;
  readonly limits: LinkLimits;
  readonly log: (message: string) => void;
}

const LARGE_VALUE_BYTES = 256 * 1024;
/** A batch of plain calls delays everything behind it. */
const PLAIN_ROWS = 256;
/** A peer with plain calls may have been upgraded to the native protocol. */
const PLAIN_HELLO_MS = 30_000;

/** The clock difference is measured only by answers that take no longer than this. */
const LONGEST_MEASURE_MS = 2000;
const MOST_IDS = 8;
const KEPT = "it lost against something newer, and can't be dropped here now";

export interface LinkLimits {
  /** The most batches in flight. */
  readonly window: number;
  readonly batchRows: number;
  readonly batchBytes: number;
  /** A smaller batch is sent at the earliest this long after the one before. */
  readonly smallRows: number;
  readonly lingerMs: number;
  readonly heartbeatMs: number;
  readonly backoffFirstMs: number;
  readonly backoffMaxMs: number;
  /** 0 = no limit. */
  readonly bytesPerSecond: number;
  readonly maxSkewMs: number;
  /** When a mutation is retried that the peer refused because of its stamp. */
  readonly refusedPauseMs: number;
  /** The same for puts that the peer could not place. */
  readonly unplacedPauseMs: number;
}

/** The facts about the peer since its last hello. */
export interface PeerSession {
  readonly id: number;
  readonly incarnation: number;
  /** The peer's clock minus ours, in ms, accurate to half the duration of the hello. */
  readonly skewMs: number;
  readonly roundTripMs: number;
}

export class PeerLink {
  readonly stats: LinkStats;
  readonly #options: PeerLinkOptions;
  readonly #bandwidth: Bandwidth;
  readonly #watermark: OwnWatermark;
  readonly #unplaced: UnplacedPuts;
  readonly #ending = new AbortController();
  #session: PeerSession | null = null;
  #legacy: LegacyCalls | null = null;
  readonly #plainCalls: LegacyCalls;
  /** When a peer with plain calls gets the next hello. */
  #helloAtMs = 0;
  #lastIncarnation: number | null = null;
  /** The number of the next batch; unsettled batches are below it. */
  #next = 1;
  readonly #underWay = new Set<number>();
  #peerId: number | null = null;
  #isConnecting = false;
  #isStarted = false;
  #isDraining = false;
  #failures = 0;
  /** Of these failures, those after a hello that was answered. */
  #refusals = 0;
  /** Ids of the nodes that have answered at this address, the latest last. */
  readonly #ids: number[] = [];
  #pausedUntilMs = 0;
  #sentAtMs = Number.NEGATIVE_INFINITY;
  /** Rows from before the start that are not known to be settled. */
  #backlog: number;
  readonly #lastVersionBefore: number;
  /** Whether the peer, in any incarnation, has ever accepted a mutation from this node. */
  #wasDelivered: boolean;
  #cancelTimer: (() => void) | null = null;
  #whenIdle: (() => void)[] = [];

  constructor(options: PeerLinkOptions) {
    const { scheduler, limits, outbox, destination } = options;
    this.#options = options;
    this.#bandwidth = new Bandwidth(limits.bytesPerSecond, scheduler);
    this.#watermark = new OwnWatermark(outbox, destination, scheduler);
    this.#unplaced = new UnplacedPuts({
      ...{ outbox, destination, rows: options.rows },
      scheduler,
      pauseMs: limits.unplacedPauseMs,
    });
    this.#plainCalls = new LegacyCalls(options.caller, () => scheduler.nowMs());
    this.stats = new LinkStats(scheduler.nowMs());
    this.#backlog = outbox.counts(destination).pending;
    this.#lastVersionBefore = outbox.newestVersion;
    this.#wasDelivered = options.state.wasDelivered(destination);
  }

  get name(): string {
    return this.#options.name;
  }

  get session(): PeerSession | null {
    return this.#session;
  }

  /** The id of the peer at the last contact; null = no contact, or a peer with plain calls. */
  get peerId(): number | null {
    return this.#peerId;
  }

  /** Whether the peer lacks mutations that were queued when this node started. */
  get hasBacklog(): boolean {
    if (this.#backlog > 0 && this.#counts().pending === 0) this.#backlog = 0;
    return this.#backlog > 0;
  }

  get caller(): Caller {
    return this.#options.caller;
  }

  get isLegacy(): boolean {
    return this.#legacy !== null;
  }

  start(): void {
    const { outbox, destination, queue } = this.#options;
    this.#isStarted = true;
    outbox.onQueued(destination, () => {
      // Queued before it was known that this peer is this node itself.
      if (this.stats.state === "self") {
        this.#forgetAll();
        return;
      }
      queue.committed();
      this.#pump();
    });
    this.#pump();
  }

  /** Tries at once if it waits after a failure or uses plain calls, because the peer has just contacted this node. */
  wake(): void {
    if (this.#legacy !== null) {
      this.#helloAtMs = 0;
      this.#pump();
      return;
    }
    // A hello from the peer does not show that it accepts what it did not accept before.
    if (this.#session !== null || this.#isConnecting || this.#pausedUntilMs === 0 || this.#refusals > 1) return;
    this.#pausedUntilMs = 0;
    this.#pump();
  }

  /** Sends without pauses until the queue is empty or the time is over; returns the number of rows left. */
  async drain(limitMs: number): Promise<number> {
    this.#isDraining = true;
    const { promise, resolve } = Promise.withResolvers<void>();
    const cancel = this.#options.scheduler.after(limitMs, resolve);
    this.#whenIdle.push(resolve);
    this.#pump();
    await promise;
    cancel();
    return this.#counts().pending + this.unplaced;
  }

  /** The number of puts that the peer knows of and could not place yet. */
  get unplaced(): number {
    return this.#unplaced.count;
  }

  /** Aborts the calls in flight; unacknowledged rows stay in the outbox. */
  async stop(): Promise<void> {
    this.#isStarted = false;
    this.#cancelTimer?.();
    this.#ending.abort();
    if (this.#underWay.size === 0) return;
    await new Promise<void>((resolve) => this.#whenIdle.push(resolve));
  }

  /** Sends entries that the peer has in older versions. Rejects on failure. */
  async repair(mutations: readonly Mutation[], signal: AbortSignal): Promise<void> {
    const { caller, node } = this.#options;
    const head = {
      ...node.signature(this.#nowMs()),
      to: this.#session?.incarnation ?? 0,
      newest: this.#newestForPeer(),
    };
    await caller.ask("repair", head, mutations, signal);
  }

  #pump(): void {
    this.#cancelTimer?.();
    this.#cancelTimer = null;
    if (!this.#isStarted) {
      this.#rest();
      return;
    }
    const nowMs = this.#monotonicMs();
    if (nowMs < this.#pausedUntilMs) {
      this.#wakeIn(this.#pausedUntilMs - nowMs);
      return;
    }
    const saysHello = this.#legacy === null ? this.#session === null : nowMs >= this.#helloAtMs;
    if (saysHello || this.#isConnecting) {
      // Plain calls are not numbered: they must finish before anything else is sent.
      if (!this.#isConnecting && (this.#legacy === null || this.#underWay.size === 0)) void this.#connect();
      return;
    }
    this.#repairQueue();
    this.#sendBatches();
    this.#rest();
  }

  /** Damaged rows of the outbox are lost: the peer must not serve entries that they may have changed. */
  #repairQueue(): void {
    const { outbox, destination, queue, log } = this.#options;
    const { dead } = outbox.counts(destination);
    if (dead === 0) return;
    log(`${dead} mutations for ${this.name} are damaged in the outbox: it is told to drop older entries`);
    queue.collapse();
  }

  #sendBatches(): void {
    const { limits } = this.#options;
    for (;;) {
      const window = this.#failures > 0 || this.#legacy !== null ? 1 : limits.window;
      if (this.#underWay.size >= window) return;
      const unplaced = this.#legacy === null ? this.#unplaced.take(limits.batchRows, limits.batchBytes) : [];
      if (unplaced.length > 0) {
        for (const part of inParts(unplaced)) void this.#send(part);
        continue;
      }
      const { pending, inFlight } = this.#counts();
      const waiting = pending - inFlight;
      const isHeartbeatDue = this.#monotonicMs() - this.#sentAtMs >= limits.heartbeatMs && this.#legacy === null;
      if (waiting <= 0 && !isHeartbeatDue) return;
      const waitMs = Math.max(this.#bandwidth.waitMs, this.#lingerMs(waiting));
      if (waitMs > 0 && waiting > 0) {
        this.#wakeIn(waitMs);
        return;
      }
      const batch = this.#take();
      if (batch.length === 0 && !isHeartbeatDue) return;
      const parts = this.#legacy === null ? inParts(batch) : [batch];
      for (const part of parts) void this.#send(part);
    }
  }

  #take(): OutboxEntry[] {
    const { queue, limits } = this.#options;
    try {
      const rows = this.#legacy === null ? limits.batchRows : Math.min(PLAIN_ROWS, limits.batchRows);
      return queue.take(rows, limits.batchBytes);
    } catch (error) {
      // A failure of the disk, not of the peer: the queue is read again at the next heartbeat.
      this.stats.note(`the outbox can't be read: ${messageOf(error)}`);
      return [];
    }
  }

  #forgetAll(): void {
    const { outbox, destination } = this.#options;
    outbox.forget(destination);
    this.#unplaced.forget();
  }

  /** How long a small batch waits for more mutations, in ms, because a call per mutation is wasteful. */
  #lingerMs(waiting: number): number {
    const { limits } = this.#options;
    if (this.#isDraining || waiting >= limits.smallRows) return 0;
    return Math.max(0, Math.ceil(this.#sentAtMs + limits.lingerMs - this.#monotonicMs()));
  }

  /** Schedules the next call of `#pump`, or resolves those who wait for the end. */
  #rest(): void {
    const isDone = this.#isStarted ? this.#counts().pending === 0 : true;
    if (this.#underWay.size === 0 && isDone) for (const resolve of this.#whenIdle.splice(0)) resolve();
    if (!this.#isStarted || this.#cancelTimer !== null) return;
    const { limits, outbox, destination } = this.#options;
    const nowMs = this.#nowMs();
    const dueInMs = (outbox.nextDueAtMs(destination) ?? nowMs) - nowMs;
    const beatInMs = this.#sentAtMs + limits.heartbeatMs - this.#monotonicMs();
    // Mutations that are already due wait for an answer in flight, which wakes this link.
    const inMs = [beatInMs, dueInMs].filter((ms) => ms > 0);
    this.#wakeIn(Math.min(limits.heartbeatMs, ...inMs));
  }

  #wakeIn(ms: number): void {
    this.#cancelTimer?.();
    this.#cancelTimer = this.#options.scheduler.after(ms, () => this.#pump());
  }

  async #connect(): Promise<void> {
    const { caller, node, clock, onStamp } = this.#options;
    this.#isConnecting = true;
    const sentAtMs = this.#monotonicMs();
    try {
      const next = this.#lowestUnderWay();
      const head = { protocol: PROTOCOL, ...node.signature(this.#nowMs()), next, stamp: clock.next() };
      const { head: answer } = await caller.ask("hello", head, [], this.#ending.signal);
      const roundTripMs = this.#monotonicMs() - sentAtMs;
      const session: PeerSession = {
        id: answer.number("id"),
        incarnation: answer.number("incarnation"),
        skewMs: this.#skewOf(answer.number("clock"), roundTripMs),
        roundTripMs,
      };
      this.#isConnecting = false;
      onStamp(toVersion(answer.numberOrNull("stamp") ?? 0));
      this.#met(session);
    } catch (error) {
      this.#isConnecting = false;
      if (error instanceof PeerCallError && error.isLegacy) this.#fallBack();
      else {
        this.#legacy = null;
        this.#failed(error);
      }
    }
    if (this.#isStarted) this.#pump();
  }

  /** Batches below this number are settled or given up; one in flight must not count as done. */
  #lowestUnderWay(): number {
    let lowest = this.#next;
    for (const number of this.#underWay) lowest = Math.min(lowest, number);
    return lowest;
  }

  #met(session: PeerSession): void {
    const { node, log } = this.#options;
    this.#pausedUntilMs = 0;
    if (session.id === node.id) {
      if (session.incarnation === node.incarnation) {
        // All nodes may be given the same list of peers, which includes the node itself.
        this.#forgetAll();
        this.#isStarted = false;
        this.stats.enter("self", this.#nowMs());
      } else {
        this.#failed(
          new Error(`it has the same node id as this node (${node.id}): set different values of SERV_CACHE_NODE_ID`),
        );
      }
      return;
    }
    const known = this.#lastIncarnation;
    if (known !== null && known !== session.incarnation) log(`peer ${this.name} has started anew`);
    this.#lastIncarnation = session.incarnation;
    this.#session = session;
    this.#legacy = null;
    this.#peerId = session.id;
    this.#noteId(session.id);
    this.#noteSkew(session.skewMs);
    this.stats.enter("up", this.#nowMs());
  }

  /** An id that returns after another one: the address leads to both nodes. */
  #noteId(id: number): void {
    if (this.#ids.at(-1) === id) return;
    const place = this.#ids.indexOf(id);
    if (place >= 0) {
      this.#ids.splice(place, 1);
      const ids = [...this.#ids, id].toSorted((a, b) => a - b).join(", ");
      this.stats.problem = `it answers as different nodes (ids ${ids}): name each node itself, not what distributes calls to them`;
    }
    this.#ids.push(id);
    if (this.#ids.length > MOST_IDS) this.#ids.shift();
  }

  #noteSkew(skewMs: number): void {
    const { limits, log } = this.#options;
    const wasApart = Math.abs(this.stats.skewMs) > limits.maxSkewMs;
    this.stats.skewMs = skewMs;
    if (wasApart || Math.abs(skewMs) <= limits.maxSkewMs) return;
    log(`the clock of peer ${this.name} is ${Math.round(skewMs)} ms apart from this node's`);
  }

  /** The peer does not support the native protocol: it gets plain calls. */
  #fallBack(): void {
    if (this.#legacy === null) this.#options.log(`peer ${this.name} supports only plain calls (replicated=true)`);
    this.#helloAtMs = this.#monotonicMs() + PLAIN_HELLO_MS;
    this.#legacy = this.#plainCalls;
    this.stats.enter("legacy", this.#nowMs());
  }

  #failed(error: unknown): void {
    const { random, limits } = this.#options;
    if (!this.#isStarted) return;
    this.#session = null;
    this.#failures += 1;
    this.stats.failed(messageOf(error), this.#nowMs());
    const { backoffFirstMs: firstMs, backoffMaxMs: maxMs } = limits;
    this.#pausedUntilMs = this.#monotonicMs() + backoffMs(this.#failures, { firstMs, maxMs, random });
  }

  async #send(batch: readonly OutboxEntry[]): Promise<void> {
    const number = this.#next++;
    this.#underWay.add(number);
    this.#sentAtMs = this.#monotonicMs();
    const session = this.#session;
    try {
      const settlements =
        this.#legacy === null ? await this.#sendNative(number, batch) : await this.#sendPlain(this.#legacy, batch);
      await this.#settle(settlements);
    } catch (error) {
      await this.#settle(batch.map((entry) => ({ kind: "released", entry })));
      // Other calls of the same session may have failed and been handled already.
      if (session === this.#session || this.#session === null) this.#batchFailed(error);
    }
    this.#underWay.delete(number);
    this.#pump();
  }

  /** The peer accepts mutations; an answered hello alone does not show that. */
  #succeeded(): void {
    this.#failures = 0;
    this.#refusals = 0;
  }

  #batchFailed(error: unknown): void {
    if (this.#monotonicMs() < this.#pausedUntilMs) return;
    const isSessionLost = error instanceof PeerCallError && error.isSessionLost;
    // Other calls in flight have got the same answer.
    if (isSessionLost && this.#session === null) return;
    this.#refusals += 1;
    this.#session = null;
    // The peer has restarted, or forgotten this node: say hello at once.
    if (isSessionLost && this.#refusals === 1) return;
    // A peer that was replaced by one of the other kind is detected by the next hello.
    this.#legacy = null;
    this.#failed(error);
  }

  async #sendNative(number: number, batch: readonly OutboxEntry[]): Promise<Settlement[]> {
    const { caller, node } = this.#options;
    const nowMs = this.#nowMs();
    const sentAtMs = this.#monotonicMs();
    const mutations = batch.map((entry) =>
      this.#unplaced.holds(entry) ? this.#unplaced.mutationOf(entry) : asOf(entry.mutation, nowMs),
    );
    const head = {
      ...node.signature(nowMs),
      to: this.#session?.incarnation ?? 0,
      number,
      watermark: this.#watermark.read(),
      newest: this.#newestForPeer(),
      known: this.#options.knownUntil(batch.filter((_, at) => bringsValue(mutations[at]))),
    };
    const message = caller.encode("batch", head, mutations);
    this.#bandwidth.spend(message.length);
    const traceparents = batch.map(({ mutation }) => mutation.traceContext);
    const answer = await this.#exchange(message, traceparents, () =>
      caller.encode("batch", head, mutations.map(withoutValue)),
    );
    this.stats.sent(batch.length, message.length);
    this.#succeeded();
    this.#measureSkew(sentAtMs, answer);
    if (batch.length > 0) this.#noteDelivered();
    return this.#settlements(batch, answer);
  }

  /** Corrected by the transit time, as for the hello; slow answers of the peer are ignored. */
  #measureSkew(sentAtMs: number, { head }: Message): void {
    const tookMs = this.#monotonicMs() - sentAtMs;
    const clock = head.numberOrNull("clock");
    if (clock !== null && tookMs <= LONGEST_MEASURE_MS) this.#noteSkew(this.#skewOf(clock, tookMs));
  }

  /** The peer showed its clock halfway. */
  #skewOf(clockMs: number, tookMs: number): number {
    return clockMs - (this.#nowMs() - tookMs / 2);
  }

  /** The newest stamp of this node that the peer may have known before it restarted; 0 = none. */
  #newestForPeer(): number {
    return this.#wasDelivered ? this.#options.clock.next() : 0;
  }

  #noteDelivered(): void {
    const { state, destination } = this.#options;
    if (this.#wasDelivered) return;
    state.noteDelivered(destination);
    this.#wasDelivered = true;
  }

  /**
   * A message that does not get through is sent without its values: the peer then drops the entries that they would
   * have replaced.
   */
  async #exchange(
    message: Buffer,
    traceparents: readonly (string | undefined)[],
    smaller: () => Buffer,
  ): Promise<Message> {
    const { caller } = this.#options;
    try {
      return await caller.exchange(message, this.#ending.signal, undefined, traceparents);
    } catch (error) {
      if (!(error instanceof PeerCallError) || !error.isTooLarge) throw error;
      return caller.exchange(smaller(), this.#ending.signal, undefined, traceparents);
    }
  }

  async #settlements(batch: readonly OutboxEntry[], { head }: Message): Promise<Settlement[]> {
    const { limits } = this.#options;
    const refused = new Set(head.numbers("refused"));
    const kept = await this.#dropLost(batch, head.numbers("lost"));
    this.stats.refusedByPeer += refused.size;
    const dueAtMs = this.#nowMs() + limits.refusedPauseMs;
    const reason = "the peer says that its stamp is too far in the future";
    const unplaced = new Set(head.numbers("unplaced"));
    if (unplaced.size < batch.length && batch.some((entry) => this.#unplaced.holds(entry))) this.#unplaced.goOn();
    return batch.map((entry, at) => {
      if (unplaced.has(at)) return this.#unplaced.settle(entry);
      if (kept.has(entry)) return { kind: "postponed", entry, reason: KEPT, dueAtMs };
      return refused.has(at) ? { kind: "postponed", entry, reason, dueAtMs } : { kind: "done", entry };
    });
  }

  /**
   * `lost`: position, version and node id of the newer mutation, for each. Returns the rows that could not be dropped
   * here.
   */
  async #dropLost(batch: readonly OutboxEntry[], lost: readonly number[]): Promise<ReadonlySet<OutboxEntry>> {
    const kept = new Set<OutboxEntry>();
    for (let at = 0; at + 2 < lost.length; at += 3) {
      const entry = batch[lost[at] ?? -1];
      if (entry === undefined) continue;
      this.stats.lost += 1;
      const newer: Stamp = { version: toVersion(lost[at + 1] ?? 0), nodeId: lost[at + 2] ?? 0 };
      if (!isNewer(newer, entry.mutation.stamp)) continue;
      try {
        await this.#options.onLost(entry.key, newer);
      } catch {
        kept.add(entry);
      }
    }
    return kept;
  }

  async #sendPlain(legacy: LegacyCalls, batch: readonly OutboxEntry[]): Promise<Settlement[]> {
    const { done, left, refused, bytes, error } = await legacy.send(batch, this.#ending.signal);
    this.#bandwidth.spend(bytes);
    this.stats.sent(done.length, bytes);
    await this.#settle(done.map((entry) => ({ kind: "done", entry })));
    const dueAtMs = this.#nowMs() + this.#options.limits.refusedPauseMs;
    await this.#settle(refused.map(({ entry, reason }) => ({ kind: "postponed", entry, reason, dueAtMs })));
    for (const { reason } of refused) this.stats.note(`it refuses a mutation: ${reason}`);
    if (error === null) this.#succeeded();
    else this.#batchFailed(error);
    return left.map((entry) => ({ kind: "released", entry }));
  }

  /** If the outbox can't be written now it retries by itself; until then the rows stay in flight. */
  async #settle(settlements: readonly Settlement[]): Promise<void> {
    for (const { kind, entry } of settlements) {
      if (kind === "done" && entry.mutation.stamp.version <= this.#lastVersionBefore) this.#backlog -= 1;
    }
    if (settlements.length > 0) await this.#options.outbox.settle(settlements).catch(() => {});
  }

  #counts() {
    return this.#options.outbox.counts(this.#options.destination);
  }

  #nowMs(): number {
    return this.#options.scheduler.nowMs();
  }

  #monotonicMs(): number {
    return this.#options.scheduler.monotonicMs();
  }
}

/** Large values are sent alone, so that no message is larger than one of them needs. */
function inParts(batch: readonly OutboxEntry[]): readonly (readonly OutboxEntry[])[] {
  const isLarge = ({ mutation }: OutboxEntry) => valueBytes(mutation) > LARGE_VALUE_BYTES;
  if (!batch.some(isLarge)) return [batch];
  const small = batch.filter((entry) => !isLarge(entry));
  return [...(small.length === 0 ? [] : [small]), ...batch.filter(isLarge).map((entry) => [entry])];
}

function bringsValue(mutation: Mutation | undefined): boolean {
  return mutation !== undefined && hasValue(mutation);
}
