/** Answers the messages of peers to `POST /api/replication`. */

import { hasValue, type Mutation } from "../model/mutation.ts";
import { isNewer, type Stamp, toVersion, type Version } from "../model/stamp.ts";
import { messageOf } from "../runtime/error-message.ts";
import type { Scheduler } from "../runtime/scheduler.ts";
import type { Applied, Applier } from "./applier.ts";
import type { DurableClock } from "./durable-clock.ts";
import type { EntryReader } from "./entry-reader.ts";
import type { IncomingSession, IncomingSessions } from "./incoming-sessions.ts";
import type { NodeIdentity } from "./node-identity.ts";
import type { PeerAuthenticator } from "./peer-authenticator.ts";
import { MESSAGE_TYPE } from "./peer-caller.ts";
import { answerCompare, answerDigest, type RangeDigests } from "./range-digests.ts";
import type { RecoveryHorizon } from "./recovery-horizon.ts";
import { decodeMessage, encodeMessage, type Message, PROTOCOL } from "./wire/message.ts";
import { WireError } from "./wire/wire-error.ts";

export interface ReplicationRequest {
  readonly body: Buffer;
  /** The raw header; null = none. */
  readonly authorization: string | null;
  readonly remoteAddress: string;
}

export interface ReplicationResponse {
  readonly status: number;
  readonly mediaType: string;
  readonly body: Buffer;
}

export interface ReceiverOptions {
  readonly node: NodeIdentity;
  readonly applier: Applier;
  readonly gate: PeerAuthenticator;
  readonly entries: EntryReader;
  readonly digests: RangeDigests;
  readonly scheduler: Scheduler;
  readonly maxSkewMs: number;
  /** Whether this node has all mutations of all peers up to a version. */
  readonly hasAllUntil: (version: number, exceptId: number) => boolean;
  /**
   * How long this node has been receiving the mutations of its peers, in ms; null = it also has the entries from
   * before.
   */
  readonly sinceMs: () => number | null;
  /** Called when a peer says hello. */
  readonly onHeard: (senderId: number) => void;
  /** A stamp newer than all that this node has made or seen. */
  readonly newestStamp: () => Version;
  readonly sessions: IncomingSessions;
  readonly horizon: RecoveryHorizon;
  readonly clockKeeper: DurableClock;
  /** Persists what must be on the disk before the mutations of a peer are acknowledged. */
  readonly note: (mutations: readonly Mutation[]) => Promise<void>;
}

export interface ReceiverStats {
  readonly batches: number;
  readonly mutations: number;
  /** Repeated batches, which changed nothing. */
  readonly repeated: number;
  /** Mutations that lost to newer ones here. */
  readonly won: number;
  /** Mutations with stamps too far in the future. */
  readonly refused: number;
  readonly repairs: number;
  readonly unauthorized: number;
}

/** Mutations of a batch that are applied before other work of the thread runs, if the engine answers at once. */
const APPLIED_PER_TURN = 500;

export class Receiver {
  readonly sessions: IncomingSessions;
  readonly #options: ReceiverOptions;
  readonly #counts = { batches: 0, mutations: 0, repeated: 0, won: 0, refused: 0, repairs: 0, unauthorized: 0 };

  constructor(options: ReceiverOptions) {
    this.#options = options;
    this.sessions = options.sessions;
  }

  stats(): ReceiverStats {
    return { ...this.#counts };
  }

  /** Counts a difference that was found by comparing, and repaired. */
  countRepair(): void {
    this.#counts.repairs += 1;
  }

  /** Never rejects for any message of a peer; for a failing engine it answers 503. */
  async receive(request: ReplicationRequest): Promise<ReplicationResponse> {
    if (!this.#options.gate.admits(request.authorization, request.remoteAddress)) {
      this.#counts.unauthorized += 1;
      return refusal(
        403,
        "ERR_PEER_UNKNOWN",
        "this node takes replication from its configured peers only: set the same SERV_CACHE_PEER_TOKEN on all nodes",
      );
    }
    try {
      const message = decodeMessage(request.body);
      return await this.#answer(message);
    } catch (error) {
      if (error instanceof WireError) return refusal(400, error.code, error.message);
      const reason = messageOf(error);
      return refusal(503, "ERR_REPLICATION_FAILED", `the node can't apply it now, try again: ${reason}`);
    }
  }

  async #answer(message: Message): Promise<ReplicationResponse> {
    if (message.kind === "hello") return answer(this.#hello(message));
    const { head } = message;
    const session = this.sessions.get(head.number("id"));
    if (session === null || session.incarnation !== head.number("incarnation")) return unknownSession();
    this.#hear(session, message);
    switch (message.kind) {
      case "batch":
        return this.#batch(session, message);
      case "page":
        return answer(await this.#page(message));
      case "digest":
        return answer(await answerDigest(this.#options.digests, message));
      case "compare":
        return answer(await answerCompare(this.#options.digests, message));
      case "repair":
        return this.#repair(session, message);
      case "answer":
        throw new WireError("the message is an answer, expected a request");
    }
  }

  #hello(message: Message): Buffer {
    const { node, scheduler, onHeard, newestStamp, applier } = this.#options;
    const { head } = message;
    if (head.number("protocol") !== PROTOCOL) {
      throw new WireError(`the peer speaks protocol ${head.number("protocol")}, this node ${PROTOCOL}`);
    }
    const id = head.number("id");
    if (id !== node.id) {
      const session = this.sessions.greet(id, head.number("incarnation"), head.number("next"));
      this.#hear(session, message);
      // From it, a node that lost its disk knows which stamps it must not make any more, because it may have
      // acknowledged them.
      applier.observe(toVersion(head.numberOrNull("stamp") ?? 0));
      onHeard(id);
    }
    const signature = node.signature(scheduler.nowMs());
    return encodeMessage("answer", { protocol: PROTOCOL, ...signature, stamp: newestStamp() });
  }

  #hear(session: IncomingSession, { head }: Message): void {
    const { scheduler } = this.#options;
    const nowMs = scheduler.nowMs();
    session.heardAtMs = scheduler.monotonicMs();
    session.skewMs = (head.numberOrNull("clock") ?? nowMs) - nowMs;
  }

  async #batch(session: IncomingSession, message: Message): Promise<ReplicationResponse> {
    const { node, horizon } = this.#options;
    const { head } = message;
    // Meant for this node before its restart: mutations acknowledged then are not here.
    if (head.number("to") !== node.incarnation) return unknownSession();
    // Sent after this node started, because it names its incarnation; a hello may be older.
    const horizonVersion = await horizon.horizonOf(session, head);
    // The sender has all mutations of all nodes up to there, so it would know of anything newer than what it sends.
    const isKnown = (head.numberOrNull("known") ?? 0) >= horizonVersion;
    const unknownUntil = isKnown ? toVersion(0) : horizonVersion;
    const number = head.number("number");
    if (session.isAhead(number)) return unknownSession();
    let isFirst = false;
    const work = session.once(number, () => {
      isFirst = true;
      return this.#apply(session, message, unknownUntil);
    });
    if (!isFirst) this.#counts.repeated += 1;
    const answered = work === null ? this.#acknowledgement(session, {}) : await work;
    const watermark = head.numberOrNull("watermark") ?? 0;
    if (watermark > session.watermark) session.watermark = toVersion(watermark);
    return answer(answered);
  }

  async #apply(session: IncomingSession, message: Message, unknownUntil: Version): Promise<Buffer> {
    const { mutations } = message;
    this.#counts.batches += 1;
    this.#counts.mutations += mutations.length;
    const outcomes = await this.#applyAll(mutations, unknownUntil);
    await this.#note(mutations, outcomes);
    if (mutations.length > 0 || !this.#options.clockKeeper.hasKept) this.#options.clockKeeper.keep();
    const refused: number[] = [];
    const lost: number[] = [];
    const unplaced: number[] = [];
    for (const [at, outcome] of outcomes.entries()) {
      if (outcome === "refused") refused.push(at);
      if (outcome === "unplaced") unplaced.push(at);
      const mutation = mutations[at];
      if (outcome !== "superseded" || mutation === undefined || !hasValue(mutation)) continue;
      const newer = await this.#newerThan(mutation.key, mutation.stamp, session);
      if (newer === null) continue;
      this.#counts.won += 1;
      lost.push(at, newer.version, newer.nodeId);
    }
    this.#counts.refused += refused.length;
    return this.#acknowledgement(session, { refused, lost, unplaced });
  }

  /** A stamp too far ahead is not trusted: with it, all writes of this node would count as old. */
  #note(mutations: readonly Mutation[], outcomes: readonly Applied[]): Promise<void> {
    return this.#options.note(mutations.filter((_, at) => outcomes[at] !== "refused"));
  }

  /** The stamp that a refused put lost to; null = unknown, perhaps none. */
  async #newerThan(key: string, stamp: Stamp, session: IncomingSession): Promise<Stamp | null> {
    const { entries, applier, maxSkewMs } = this.#options;
    const stored = await entries.stampOf(key);
    if (stored !== null && isNewer(stored, stamp)) return stored;
    // A sender that lost its disk may have forgotten even its own invalidations.
    const invalidation = applier.invalidationOf(key, stamp);
    if (invalidation !== null || Math.abs(session.skewMs) <= maxSkewMs) return invalidation;
    // With such a clock, its stamps may be older than mutations that all nodes have forgotten: in doubt, it drops the
    // entry, too.
    return { version: toVersion(stamp.version + 1), nodeId: 1 };
  }

  async #applyAll(mutations: readonly Mutation[], unknownUntil: Version): Promise<Applied[]> {
    const { applier } = this.#options;
    const outcomes: (Applied | Promise<Applied>)[] = [];
    for (const [at, mutation] of mutations.entries()) {
      const outcome = applier.apply(mutation, unknownUntil);
      // Its failure is handled below; until then it must not count as unhandled.
      if (outcome instanceof Promise) outcome.catch(() => {});
      // Each one walks through all entries: one after the other, with turns for other work in between.
      outcomes.push(mutation.kind === "invalidate" ? await outcome : outcome);
      if (at % APPLIED_PER_TURN === APPLIED_PER_TURN - 1) await this.#options.entries.letOthersRun();
    }
    return Promise.all(outcomes);
  }

  /** `positions`: positions of mutations in the batch; empty lists are left out. */
  #acknowledgement(session: IncomingSession, positions: Readonly<Record<string, readonly number[]>>): Buffer {
    const { node, scheduler } = this.#options;
    const told = Object.fromEntries(Object.entries(positions).filter(([, list]) => list.length > 0));
    const head = { ...node.signature(scheduler.nowMs()), acknowledged: session.acknowledged, ...told };
    return encodeMessage("answer", head);
  }

  /** Entries for a node that bootstraps. */
  async #page({ head }: Message): Promise<Buffer> {
    const { entries, hasAllUntil, node, scheduler } = this.#options;
    const sinceMs = this.#options.sinceMs();
    const signature = { ...node.signature(scheduler.nowMs()), ...(sinceMs === null ? {} : { sinceMs }) };
    if (!hasAllUntil(head.number("until"), head.number("id"))) {
      return encodeMessage("answer", { ...signature, isSettled: false });
    }
    const { puts, cursor } = await entries.page(head.textOrNull("cursor"));
    return encodeMessage("answer", { ...signature, isSettled: true, cursor }, puts);
  }

  /** Entries of ours that a peer has found to be outdated by comparing. */
  async #repair(session: IncomingSession, { head, mutations }: Message): Promise<ReplicationResponse> {
    const { node, scheduler, horizon, clockKeeper } = this.#options;
    if (head.number("to") !== node.incarnation) return unknownSession();
    // A repair replaces an older entry, or an older delete.
    const unknownUntil = await horizon.horizonOf(session, head);
    const outcomes = await this.#applyAll(mutations, unknownUntil);
    for (const outcome of outcomes) if (outcome === "applied") this.countRepair();
    await this.#note(mutations, outcomes);
    clockKeeper.keep();
    return answer(encodeMessage("answer", node.signature(scheduler.nowMs())));
  }
}

function answer(body: Buffer): ReplicationResponse {
  return { status: 200, mediaType: MESSAGE_TYPE, body };
}

function unknownSession(): ReplicationResponse {
  return refusal(409, "ERR_PEER_SESSION", "this node doesn't know the session: say hello");
}

function refusal(status: number, code: string, error: string): ReplicationResponse {
  return { status, mediaType: "application/json", body: Buffer.from(JSON.stringify({ error, code })) };
}
