/**
 * Replication of a node: sends its mutations to its peers, and applies theirs.
 *
 * Full mesh: every node sends its own mutations to every peer, and never forwards those of another node. Nothing
 * depends on the order in which mutations arrive: versions decide.
 */

import type { PartState } from "../cache/operator-port.ts";
import type { RecentInvalidations } from "../cache/recent-invalidations.ts";
import type { Engine } from "../engine/engine.ts";
import { type HybridClock, versionAt } from "../model/hybrid-clock.ts";
import { hasValue, type Mutation, type TouchMutation } from "../model/mutation.ts";
import { type Stamp, toVersion, type Version } from "../model/stamp.ts";
import type { OutboxEntry, OutboxRow } from "../outbox/entry.ts";
import type { Scheduler } from "../runtime/scheduler.ts";
import type { MetricFamily } from "../telemetry/metric-family.ts";
import { AntiEntropy } from "./anti-entropy.ts";
import { Applier } from "./applier.ts";
import { Bootstrap, type BootstrapState } from "./bootstrap.ts";
import { DurableClock } from "./durable-clock.ts";
import { EntryReader } from "./entry-reader.ts";
import { IncomingSessions } from "./incoming-sessions.ts";
import { KeyFilter } from "./key-filter.ts";
import { NodeIdentity } from "./node-identity.ts";
import { NodeState } from "./node-state.ts";
import { OwnRows } from "./own-rows.ts";
import { PeerAuthenticator } from "./peer-authenticator.ts";
import { PeerCaller } from "./peer-caller.ts";
import { type LinkLimits, PeerLink } from "./peer-link.ts";
import { peersFamilies } from "./peer-metrics.ts";
import { type PeerOutbox, PeerQueue } from "./peer-queue.ts";
import { destinationOf, peerDestinationOf } from "./peer-rows.ts";
import { RangeDigests } from "./range-digests.ts";
import { Receiver, type ReplicationRequest, type ReplicationResponse } from "./receiver.ts";
import { RecentTouches } from "./recent-touches.ts";
import { RecoveryHorizon } from "./recovery-horizon.ts";
import { peersReport, peersState } from "./report.ts";
import type { Transport } from "./transport.ts";
import { DEFAULT_TUNING, type ReplicationTuning } from "./tuning.ts";
import { VersionFloors } from "./version-floors.ts";

export interface ReplicationOptions {
  /** The node id in this node's stamps, from 1 on. */
  readonly nodeId: number;
  /** URLs of the peers, without a trailing slash; this node's own URL is ignored. */
  readonly peers: readonly string[];
  /** Null = peers are recognised by their addresses. */
  readonly token: string | null;
  /** Globs of the replicated keys; empty = all. */
  readonly keys: readonly string[];
  readonly maxSkewMs: number;
  readonly tombstoneMs: number;
  readonly bootstrap: "peer" | "none";
  readonly bootstrapTimeoutMs: number;
  /** How often entries are compared with those of each peer, in ms; 0 = never. */
  readonly compareEveryMs: number;
  /** Limit of the queue for one peer. */
  readonly queueLimitBytes: number;
  readonly queueLimitKeys: number;
  /** Limit for one peer; 0 = no limit. */
  readonly bytesPerSecond: number;

  readonly outbox: PeerOutbox;
  /** The engine of this thread. */
  readonly engine: Engine;
  readonly clock: HybridClock;
  readonly invalidations: RecentInvalidations;
  readonly scheduler: Scheduler;
  /** In [0, 1). */
  readonly random: () => number;
  readonly transport: Transport;
  /** Resolves a host to its addresses. */
  readonly resolve: (host: string) => Promise<readonly string[]>;
  readonly letOthersRun: () => Promise<void>;
  /** Called with each mutation of a peer before it is applied. */
  readonly onApply: (mutation: Mutation) => void;
  /** Called when the node does not, or no longer, have to wait for the entries of a peer. */
  readonly onReady?: () => void;
  readonly log: (message: string) => void;
  readonly tuning?: Partial<ReplicationTuning>;
}

const RESOLVE_EVERY_MS = 30_000;
const MAX_INCARNATION = 2 ** 32;

export class Replication {
  readonly links: readonly PeerLink[];
  readonly receiver: Receiver;
  readonly #options: ReplicationOptions;
  readonly #tuning: ReplicationTuning;
  readonly #queues: readonly PeerQueue[];
  readonly #gate: PeerAuthenticator;
  readonly #applier: Applier;
  readonly #seen: VersionFloors | null;
  readonly #rows: OwnRows;
  readonly #touches = new RecentTouches();
  readonly #comparison: AntiEntropy;
  readonly #bootstrap: Bootstrap | null;
  readonly #ending = new AbortController();
  readonly #cancels = new Set<() => void>();
  readonly #startMs: number;

  /** Throws `InvalidPatternError` for an invalid key filter. */
  constructor(options: ReplicationOptions) {
    const { engine, clock, invalidations, scheduler, maxSkewMs, tombstoneMs, nodeId, log } = options;
    this.#options = options;
    this.#tuning = { ...DEFAULT_TUNING, ...options.tuning };
    this.#startMs = scheduler.monotonicMs();
    const filter = new KeyFilter(options.keys);
    const node = new NodeIdentity(nodeId, Math.floor(options.random() * MAX_INCARNATION));
    const nowMs = () => scheduler.nowMs();
    this.#seen = engine.refusesForgotten ? null : new VersionFloors();
    const touches = this.#touches;
    this.#applier = new Applier({
      ...{ engine, clock, invalidations, seen: this.#seen, touches, nowMs, maxSkewMs, tombstoneMs },
      onApply: options.onApply,
    });
    this.#gate = new PeerAuthenticator({
      token: options.token,
      hosts: options.peers.map(hostOf),
      resolve: options.resolve,
    });
    const entries = new EntryReader({ engine, filter, touches, letOthersRun: options.letOthersRun });
    const digests = new RangeDigests({
      ...{ node, entries, invalidations, nowMs },
      hasAllUntil: (version) => this.#allUntil(null) >= version,
    });
    const state = new NodeState(options.outbox);
    const sessions = new IncomingSessions();
    const horizon = new RecoveryHorizon({
      ...{ scheduler, maxSkewMs, sessions, unheardSkewMs: this.#tuning.unheardSkewMs },
      lastVersion: toVersion(options.outbox.newestVersion),
      seenVersion: state.seenVersion,
      peerIds: () => this.#peerIds(),
    });
    this.#rows = new OwnRows({
      ...{ outbox: options.outbox, state, invalidations, horizon, nowMs, letOthersRun: options.letOthersRun },
      destinations: options.peers.map(destinationOf),
      restore: (put) => this.#applier.restore(put),
    });
    this.receiver = new Receiver({
      ...{ node, applier: this.#applier, gate: this.#gate, entries, digests, scheduler, sessions, horizon },
      maxSkewMs: options.maxSkewMs,
      newestStamp: () => clock.next(),
      clockKeeper: new DurableClock(clock, options.outbox, state, horizon),
      hasAllUntil: (version, exceptId) => this.#allUntil(exceptId) >= version,
      sinceMs: () => this.#sinceMs(),
      onHeard: (senderId) => this.#wake(senderId),
      note: (mutations) => this.#rows.note(mutations),
    });
    const made = options.peers.map((url) => this.#makeLink(url, node, state, filter));
    this.links = made.map(({ link }) => link);
    this.#queues = made.map(({ queue }) => queue);
    this.#comparison = new AntiEntropy({
      ...{ node, digests, entries, applier: this.#applier, nowMs, signal: this.#ending.signal },
      timeoutMs: this.#tuning.compareTimeoutMs,
      hasAllUntil: () => this.#allUntil(null),
      onRepair: () => this.receiver.countRepair(),
    });
    this.#bootstrap =
      options.bootstrap === "none"
        ? null
        : new Bootstrap({
            ...{ node, applier: this.#applier, scheduler, log },
            onReady: () => options.onReady?.(),
            sources: () => this.#nearestFirst(),
            areAllUp: () => this.links.every(({ session, stats }) => session !== null || stats.state === "self"),
            startVersion: () => clock.next(),
            timeoutMs: options.bootstrapTimeoutMs,
            pauseMs: this.#tuning.bootstrapPauseMs,
          });
  }

  get bootstrapState(): BootstrapState | "off" {
    return this.#bootstrap?.state ?? "off";
  }

  /** The rows of the outbox that deliver a mutation of this node to its peers. To be appended at once. */
  rowsOf(mutation: Mutation): OutboxRow[] {
    if (mutation.kind !== "invalidate") this.#seen?.note(mutation.key, mutation.stamp.version);
    if (mutation.isReplicated === true) return [];
    if (mutation.kind === "touch") this.#noteTouch(mutation);
    const rows: OutboxRow[] = [];
    if (mutation.kind === "invalidate") this.#rows.addRowsOf(mutation, rows);
    const isOutdated = hasValue(mutation) && this.#rows.isOutdated(mutation);
    for (let at = 0; at < this.#queues.length; at++) {
      if (this.links[at]?.stats.state !== "self") this.#queues[at]?.addRowsOf(mutation, isOutdated, rows);
    }
    return rows;
  }

  /** The entry already has the expiry, unless a peer's touch came in between, an older or a newer one. */
  #noteTouch({ key, stamp: seen, touch: stamp, expiresAtMs }: TouchMutation): void {
    const isFirst = this.#touches.of(key, seen) === null;
    this.#touches.note(key, { seen, stamp, expiresAtMs });
    if (isFirst) return;
    void Promise.resolve(this.#applier.settleTouch(key, seen)).catch((error: unknown) => {
      this.#options.log(`the newest expiry of ${key} could not be set: ${String(error)}`);
    });
  }

  /** Handles a request to `POST /api/replication`. */
  receive(request: ReplicationRequest): Promise<ReplicationResponse> {
    return this.receiver.receive(request);
  }

  start(): void {
    this.#forgetFormerPeers();
    this.#makeUpForDamage();
    this.#every(RESOLVE_EVERY_MS, () => this.#gate.refresh());
    void this.#gate.refresh();
    void this.#startLinks();
    if (this.#bootstrap === null) this.#options.onReady?.();
    else void this.#bootstrap.run();
    const { compareEveryMs } = this.#options;
    if (compareEveryMs > 0) for (const link of this.links) this.#every(compareEveryMs, () => this.compareWith(link));
  }

  async #startLinks(): Promise<void> {
    const { engine, log } = this.#options;
    try {
      // The entries of an external engine are still there; the memory of this process starts empty.
      await this.#rows.recover(engine.refusesForgotten);
    } catch (error) {
      log(`entries that the peers do not have yet could not be restored: ${String(error)}`);
    }
    if (!this.#ending.signal.aborted) for (const link of this.links) link.start();
  }

  /** Compares with one peer now; false = not possible now. */
  async compareWith(link: PeerLink): Promise<boolean> {
    if (link.session === null) return false;
    try {
      return await this.#comparison.run(link);
    } catch {
      // The link itself detects a failing peer.
      return false;
    }
  }

  async drain(limitMs: number): Promise<number> {
    const left = await Promise.all(this.links.map((link) => link.drain(limitMs)));
    return left.reduce((sum, count) => sum + count, 0);
  }

  async stop(): Promise<void> {
    this.#ending.abort();
    this.#bootstrap?.stop();
    for (const cancel of this.#cancels) cancel();
    await Promise.all(this.links.map((link) => link.stop()));
  }

  health(): PartState {
    return peersState(this.#parts());
  }

  stats(): Record<string, unknown> {
    return peersReport(this.#parts());
  }

  metrics(): MetricFamily[] {
    return peersFamilies(this.#parts());
  }

  #parts() {
    const { outbox, scheduler, maxSkewMs } = this.#options;
    const { links, receiver, bootstrapState } = this;
    return { links, queues: this.#queues, receiver, outbox, scheduler, maxSkewMs, bootstrapState };
  }

  #makeLink(
    url: string,
    node: NodeIdentity,
    state: NodeState,
    filter: KeyFilter,
  ): { link: PeerLink; queue: PeerQueue } {
    const { outbox, clock, scheduler, random, transport, token, log, nodeId } = this.#options;
    const { queueLimitBytes: limitBytes, queueLimitKeys: limitKeys, bytesPerSecond, maxSkewMs } = this.#options;
    const { callTimeoutMs: timeoutMs, backlogRows } = this.#tuning;
    const destination = destinationOf(url);
    const limits: LinkLimits = { ...this.#tuning, bytesPerSecond, maxSkewMs };
    const nextStamp = (): Stamp => ({ version: clock.next(), nodeId: nodeId });
    const nowMs = () => scheduler.nowMs();
    const queue = new PeerQueue({ outbox, destination, filter, nowMs, nextStamp, limitBytes, limitKeys, backlogRows });
    const link = new PeerLink({
      ...{ name: url, queue, outbox, state, destination, node, clock, scheduler, random, limits, log },
      caller: new PeerCaller({ address: { url }, transport, scheduler, timeoutMs, token }),
      onLost: (key, newer) => this.#applier.outdate(key, newer),
      onStamp: (version) => void this.#applier.observe(version),
      knownUntil: (batch) => this.#knownUntil(batch),
      rows: this.#rows,
    });
    return { link, queue };
  }

  /** A peer that is no longer configured gets nothing any more; its queue would wait for ever. */
  #forgetFormerPeers(): void {
    const { outbox, peers, log } = this.#options;
    const wanted = new Set(peers.map(destinationOf));
    for (const destination of outbox.destinations()) {
      const peer = peerDestinationOf(destination);
      if (peer === null || wanted.has(peer)) continue;
      const { pending } = outbox.counts(destination);
      outbox.forget(destination);
      if (pending > 0) log(`${pending} mutations for ${destination} are dropped, because it is no longer configured`);
    }
  }

  /** The lost rows of a damaged outbox are unknown: the peers must not serve entries that they may have changed. */
  #makeUpForDamage(): void {
    const { outbox, log } = this.#options;
    if (outbox.warnings.length === 0 || this.#queues.length === 0) return;
    log("the outbox was damaged: the peers are told to drop older entries");
    for (const queue of this.#queues) queue.collapse();
  }

  /**
   * The version up to which all mutations of all peers (except one) are here; 0 = one of them has not connected yet.
   */
  #allUntil(exceptId: number | null): Version {
    let least = versionAt(this.#options.scheduler.nowMs());
    for (const link of this.links) {
      const { peerId } = link;
      if (link.stats.state === "self" || link.isLegacy) continue;
      if (peerId === null) return toVersion(0);
      if (peerId === exceptId) continue;
      const watermark = this.receiver.sessions.get(peerId)?.watermark ?? toVersion(0);
      if (watermark < least) least = watermark;
    }
    return least;
  }

  /** The version up to which a peer may assume that these puts are newer than all mutations it ever knew; 0 = none. */
  #knownUntil(batch: readonly OutboxEntry[]): Version {
    return this.#rows.areSure(batch) ? this.#allUntil(null) : toVersion(0);
  }

  /** See `ReceiverOptions`: 0 while this node is still being filled. */
  #sinceMs(): number | null {
    const { engine, scheduler } = this.#options;
    if (this.bootstrapState === "running" || this.bootstrapState === "late") return 0;
    // The entries of an external engine are older than this process.
    if (!engine.refusesForgotten || this.#bootstrap?.isFilled === true) return null;
    return scheduler.monotonicMs() - this.#startMs;
  }

  *#peerIds(): Generator<number | null> {
    for (const link of this.links) if (link.stats.state !== "self" && !link.isLegacy) yield link.peerId;
  }

  #nearestFirst(): PeerLink[] {
    const distance = (link: PeerLink) => link.session?.roundTripMs ?? Number.POSITIVE_INFINITY;
    return this.links.filter((link) => link.session !== null).sort((a, b) => distance(a) - distance(b));
  }

  #wake(senderId: number): void {
    // Only a hello identifies a peer: one that was never met may be this sender.
    for (const link of this.links) if (link.peerId === senderId || link.peerId === null) link.wake();
  }

  #every(ms: number, work: () => Promise<unknown>): void {
    const { scheduler, random } = this.#options;
    const next = () => {
      const cancel = scheduler.after(ms * (0.9 + random() / 5), () => {
        this.#cancels.delete(cancel);
        void work().finally(() => {
          if (!this.#ending.signal.aborted) next();
        });
      });
      this.#cancels.add(cancel);
    };
    next();
  }
}

/** The host in a peer's URL, in the form of an address. */
export function hostOf(url: string): string {
  return new URL(url).hostname.replace(/^\[|\]$/g, "");
}
