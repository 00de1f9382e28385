/**
 * Does what peers say, by the one rule: the newer (version, node id) wins, however it arrives. What can't be known to be
 * newer is not stored; a peer may miss what it could have, but never keeps what it shouldn't.
 */

import type { RecentInvalidations } from "../cache/recent-invalidations.ts";
import type { Condition, Engine, PutOutcome } from "../engine/engine.ts";
import { NEVER } from "../model/entry.ts";
import { Glob } from "../model/glob.ts";
import { type HybridClock, versionAt } from "../model/hybrid-clock.ts";
import type { Key } from "../model/key.ts";
import { before, type Stamp, type Version } from "../model/stamp.ts";
import type { Awaitable } from "../runtime/awaitable.ts";
import { BoundedMap } from "../runtime/bounded-map.ts";
import type { RecentTouches } from "./recent-touches.ts";
import type { VersionFloors } from "./version-floors.ts";
import type { PeerInvalidate, PeerMutation, PeerPut } from "./wire/peer-mutation.ts";

/**
 * - `applied`: it is done, or there was nothing to do.
 * - `superseded`: something newer is here, or may have been.
 * - `unplaced`: this node has started anew since, and can't know whether it had something newer.
 * - `refused`: its stamp is too far in the future; it is not to be taken before its time.
 */
export type Applied = "applied" | "superseded" | "unplaced" | "refused";

export interface ApplierOptions {
  readonly engine: Engine;
  readonly clock: HybridClock;
  readonly invalidations: RecentInvalidations;
  /** Null where the engine knows by itself. */
  readonly seen: VersionFloors | null;
  readonly touches: RecentTouches;
  readonly nowMs: () => number;
  readonly maxSkewMs: number;
  readonly tombstoneMs: number;
  /** Called with what is about to be applied: the node's backend must not bring back what was before it. */
  readonly onApply: (mutation: PeerMutation) => void;
}

/**
 * Of a put: `certain` = nothing newer was ever here but what the engine knows of. `doubtful` = something newer of this key or
 * another was, and may be forgotten. `unknown` = what was here before the start is forgotten.
 */
type Knowledge = "certain" | "doubtful" | "unknown";

const PRESENT: Condition = { kind: "present" };
/** Invalidations that are remembered as done, so that a repeated one costs nothing. */
const MOST_DONE = 1000;

export class Applier {
  readonly #options: ApplierOptions;
  readonly #invalidated = new BoundedMap<string, Promise<void>>(MOST_DONE);

  constructor(options: ApplierOptions) {
    this.#options = options;
  }

  /**
   * `unknownUntil`: of what is not newer, this node may have known more before it started anew; so such a put may only
   * take the place of something older.
   */
  apply(mutation: PeerMutation, unknownUntil: Version): Awaitable<Applied> {
    const { seen } = this.#options;
    const { stamp } = mutation;
    if (!this.observe(stamp.version)) return this.#refuse(mutation);
    if (mutation.kind === "put" && mutation.touch !== null && !this.observe(mutation.touch.version)) return "refused";
    this.#options.onApply(mutation);
    if (mutation.kind === "invalidate") return this.#invalidate(mutation);
    if (mutation.kind === "put" && stamp.version <= unknownUntil) return this.#put(mutation, "unknown");
    if (mutation.kind !== "put") {
      seen?.note(mutation.key, stamp.version);
      return this.#remove(mutation);
    }
    if (seen === null) return this.#put(mutation, "certain");
    const knowledge = stamp.version <= seen.newest(mutation.key) ? "doubtful" : "certain";
    // One that failed comes again, and is not to be taken for older than itself.
    return after(this.#put(mutation, knowledge), (applied) => {
      seen.note(mutation.key, stamp.version);
      return applied;
    });
  }

  /** Stamps of this node are newer from now on. False = it is too far in the future, and not adopted. */
  observe(version: Version): boolean {
    const { clock, nowMs, maxSkewMs } = this.#options;
    if (version >= versionAt(nowMs() + maxSkewMs + 1)) return false;
    clock.observe(version);
    return true;
  }

  /** Stores an entry of a peer that is known to have all that happened before this node was there. */
  restore(put: PeerPut): Awaitable<Applied> {
    const { seen } = this.#options;
    if (!this.observe(put.stamp.version)) return "refused";
    return this.#put(put, put.stamp.version <= (seen?.newest(put.key) ?? -1) ? "doubtful" : "certain");
  }

  /** Something newer is elsewhere: what is older goes here. */
  outdate(key: string, newer: Stamp): Awaitable<Applied> {
    // A stamp from too far ahead would keep out all that comes before its time.
    return this.observe(newer.version) ? this.#delete(key, before(newer)) : "refused";
  }

  /** The pattern delete or clear that is newer than a mutation of a key; null = none is known. */
  invalidationOf(key: string, stamp: Stamp): Stamp | null {
    return this.#options.invalidations.covering(keyOf(key), stamp);
  }

  /**
   * A touched put is that put, with a newer expiry: where the put is, only the expiry changes; where something newer is or
   * was, nothing does.
   */
  #put(put: PeerPut, knowledge: Knowledge): Awaitable<Applied> {
    const { touches } = this.#options;
    if (put.touch !== null) touches.note(put.key, { seen: put.stamp, stamp: put.touch, expiresAtMs: put.expiresAtMs });
    // What came before may know of a touch that this does not.
    const touch = touches.of(put.key, put.stamp);
    if (touch === null) return this.#putAs(put, knowledge);
    return after(this.#putAs({ ...put, expiresAtMs: touch.expiresAtMs }, knowledge), (applied) =>
      after(this.settleTouch(put.key, put.stamp), (isThere) => (isThere ? "applied" : applied)),
    );
  }

  /** Gives an entry the expiry of its newest touch. False = it is not here, or something newer is. */
  settleTouch(key: string, seen: Stamp): Awaitable<boolean> {
    const { touches, engine } = this.#options;
    const touch = touches.of(key, seen);
    if (touch === null) return false;
    const { expiresAtMs } = touch;
    const outcome = engine.touch({ key: keyOf(key), expiresAtMs, seen, condition: null });
    return after(outcome, (done) => {
      if (done !== "touched") return false;
      // Another came while this one was on its way, and may have overtaken it.
      return touches.of(key, seen) === touch || this.settleTouch(key, seen);
    });
  }

  #putAs(put: PeerPut, knowledge: Knowledge): Awaitable<Applied> {
    const { engine, invalidations, nowMs } = this.#options;
    const { value, expiresAtMs, stamp } = put;
    const making = engine.makeRoom?.(value.length) ?? null;
    if (making !== null) return making.then(() => this.#putAs(put, knowledge));
    // The put itself may be here still, touched, where the news of that has not come: it ends by its own expiry.
    if (expiresAtMs !== NEVER && expiresAtMs <= nowMs()) return this.#outdate(put.key, stamp);
    const key = keyOf(put.key);
    const newer = invalidations.covering(key, stamp);
    if (newer !== null) return this.#drop(key, newer);
    const condition = knowledge === "certain" ? null : PRESENT;
    const range = { source: value, start: 0, end: value.length };
    const outcome = engine.put({ key, ...range, attributes: put, expiresAtMs, stamp, condition });
    return outcome instanceof Promise
      ? outcome.then((later) => this.#afterPut(put, later, knowledge))
      : this.#afterPut(put, outcome, knowledge);
  }

  #afterPut({ key: name, stamp }: PeerPut, outcome: PutOutcome, knowledge: Knowledge): Awaitable<Applied> {
    // The newest value can't be here; the one before must not be either.
    if (outcome === "too-large") return this.#delete(name, stamp);
    const key = keyOf(name);
    // Nothing is here that could be older, and whoever has an older one has heard of this one before it is sure of it.
    if (outcome === "condition-failed" && knowledge === "unknown") return "unplaced";
    // It may be older than what was here, and newer than what comes next: that must not be taken either.
    if (outcome === "condition-failed") return this.#drop(key, before(stamp));
    if (outcome !== "stored") return "superseded";
    const newer = this.#options.invalidations.covering(key, stamp);
    return newer === null ? "applied" : this.#drop(key, newer);
  }

  #remove(mutation: Extract<PeerMutation, { readonly kind: "delete" | "outdated" }>): Awaitable<Applied> {
    const { key, stamp } = mutation;
    return mutation.kind === "delete" ? this.#delete(key, stamp) : this.#outdate(key, stamp);
  }

  /** Removes what is older than a stamp, and leaves what has it; another that has it does not come any more. */
  #outdate(name: string, stamp: Stamp): Awaitable<Applied> {
    return after(this.#delete(name, before(stamp)), (applied) => {
      if (applied !== "superseded") return applied;
      // No delete is between the two: what is just older goes by a delete that leaves all that have another version.
      const condition: Condition = { kind: "revision-in", revisions: [stamp.version] };
      const request = { key: keyOf(name), stamp, condition, tombstoneUntilMs: NEVER };
      return after(this.#options.engine.delete(request), (outcome) => (outcome === "deleted" ? "applied" : applied));
    });
  }

  #delete(name: string, stamp: Stamp): Awaitable<Applied> {
    const { engine, nowMs, tombstoneMs } = this.#options;
    const tombstoneUntilMs = nowMs() + tombstoneMs;
    return after(engine.delete({ key: keyOf(name), stamp, condition: null, tombstoneUntilMs }), (outcome) =>
      outcome === "superseded" ? "superseded" : "applied",
    );
  }

  #drop(key: Key, newer: Stamp): Awaitable<Applied> {
    return after(
      this.#options.engine.delete({ key, stamp: newer, condition: null, tombstoneUntilMs: NEVER }),
      () => "superseded",
    );
  }

  async #invalidate({ pattern, stamp }: PeerInvalidate): Promise<Applied> {
    const name = `${stamp.version} ${stamp.nodeId} ${pattern ?? ""}`;
    let done = this.#invalidated.get(name);
    if (done === undefined) {
      done = this.#walk(pattern, stamp);
      this.#invalidated.set(name, done);
    }
    try {
      await done;
    } catch (error) {
      this.#invalidated.delete(name);
      throw error;
    }
    return "applied";
  }

  async #walk(pattern: string | null, stamp: Stamp): Promise<void> {
    const { engine, invalidations } = this.#options;
    // Parsed first: one that can't be used must not be entered.
    const glob = pattern === null ? null : Glob.parse(pattern);
    invalidations.add(pattern, stamp);
    if (glob === null) await engine.clear(stamp);
    else await engine.deleteMatching(glob, stamp);
  }

  /** Its stamp is nothing to go by, but what it replaces is not to be served either. */
  #refuse(mutation: PeerMutation): Awaitable<Applied> {
    const { engine, clock } = this.#options;
    const stamp: Stamp = { version: clock.next(), nodeId: 0 };
    if (mutation.kind === "invalidate") return this.#refuseInvalidate(mutation, stamp);
    const request = { key: keyOf(mutation.key), stamp, condition: null, tombstoneUntilMs: NEVER };
    return after(engine.delete(request), () => "refused");
  }

  async #refuseInvalidate({ pattern }: PeerInvalidate, stamp: Stamp): Promise<Applied> {
    await this.#options.engine.deleteMatching(pattern === null ? EVERYTHING : Glob.parse(pattern), stamp);
    return "refused";
  }
}

const EVERYTHING = Glob.parse("*");

export function keyOf(name: string): Key {
  const bytes = Buffer.from(name);
  return { bytes, length: bytes.length };
}

/** Without a promise where there is none yet: most mutations meet an engine that answers at once. */
function after<T, U>(result: Awaitable<T>, next: (result: T) => Awaitable<U>): Awaitable<U> {
  return result instanceof Promise ? result.then(next) : next(result);
}
