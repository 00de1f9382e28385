/**
 * Applies the mutations of peers by the one rule: the newer (version, node id) wins, however it arrives. A put that may
 * be older than a forgotten mutation is not stored: a node may miss a value, but never keeps an outdated one.
 */

import type { RecentInvalidations } from "../cache/recent-invalidations.ts";
import type { Condition, Engine, PutOutcome } from "../engine/engine.ts";
import { NEVER, NO_TOMBSTONE } from "../model/entry.ts";
import { Glob } from "../model/glob.ts";
import { type HybridClock, versionAt } from "../model/hybrid-clock.ts";
import { type Key, keyOf } from "../model/key.ts";
import { EVERYTHING } from "../model/matcher.ts";
import { hasValue, type InvalidateMutation, type Mutation, type ValueMutation } from "../model/mutation.ts";
import { before, type Stamp, type Version } from "../model/stamp.ts";
import { type Awaitable, after } from "../runtime/awaitable.ts";
import { BoundedMap } from "../runtime/bounded-map.ts";
import type { RecentTouches } from "./recent-touches.ts";
import type { VersionFloors } from "./version-floors.ts";

/**
 * - `applied`: done, or nothing had to be done.
 * - `superseded`: a newer mutation is, or may have been, here.
 * - `unplaced`: this node has restarted since, and cannot know whether it had a newer mutation.
 * - `refused`: the stamp is too far in the future; the mutation is not accepted before its time.
 */
export type Applied = "applied" | "superseded" | "unplaced" | "refused";

export interface ApplierOptions {
  readonly engine: Engine;
  readonly clock: HybridClock;
  readonly invalidations: RecentInvalidations;
  /** Null if the engine remembers evicted versions itself. */
  readonly seen: VersionFloors | null;
  readonly touches: RecentTouches;
  readonly nowMs: () => number;
  readonly maxSkewMs: number;
  readonly tombstoneMs: number;
  /** Called before a mutation is applied, so that the node's backend does not load the value from before it. */
  readonly onApply: (mutation: Mutation) => void;
}

/**
 * What this node knows about a put. `certain`: the engine knows of everything newer. `doubtful`: a newer mutation of
 * this key, or of another in its bucket, may be forgotten. `unknown`: what was here before the start is forgotten.
 */
type Knowledge = "certain" | "doubtful" | "unknown";

const PRESENT: Condition = { kind: "present" };
/** The most invalidations remembered as done, so that repeating one costs nothing. */
const MOST_DONE = 1000;

export class Applier {
  readonly #options: ApplierOptions;
  readonly #invalidated = new BoundedMap<string, Promise<void>>(MOST_DONE);

  constructor(options: ApplierOptions) {
    this.#options = options;
  }

  /**
   * `unknownUntil`: for versions up to this one, this node may have known newer mutations before it restarted; so such
   * a put may only replace an older entry.
   */
  apply(mutation: Mutation, unknownUntil: Version): Awaitable<Applied> {
    const { seen } = this.#options;
    const { stamp } = mutation;
    if (!this.observe(stamp.version)) return this.#refuse(mutation);
    if (mutation.kind === "touch" && !this.observe(mutation.touch.version)) return "refused";
    this.#options.onApply(mutation);
    if (mutation.kind === "invalidate") return this.#invalidate(mutation);
    if (hasValue(mutation) && stamp.version <= unknownUntil) return this.#put(mutation, "unknown");
    if (!hasValue(mutation)) {
      seen?.note(mutation.key, stamp.version);
      return this.#remove(mutation);
    }
    if (seen === null) return this.#put(mutation, "certain");
    const knowledge = stamp.version <= seen.newest(mutation.key) ? "doubtful" : "certain";
    // A failed put will be repeated, and must not then count as older than itself.
    return after(this.#put(mutation, knowledge), (applied) => {
      seen.note(mutation.key, stamp.version);
      return applied;
    });
  }

  /** Advances this node's clock past a version. False = it is too far in the future, and ignored. */
  observe(version: Version): boolean {
    const { clock, nowMs, maxSkewMs } = this.#options;
    if (version >= versionAt(nowMs() + maxSkewMs + 1)) return false;
    clock.observe(version);
    return true;
  }

  /** Stores an entry of a peer that is known to have everything from before this node's start. */
  restore(put: ValueMutation): Awaitable<Applied> {
    const { seen } = this.#options;
    if (!this.observe(put.stamp.version)) return "refused";
    return this.#put(put, put.stamp.version <= (seen?.newest(put.key) ?? -1) ? "doubtful" : "certain");
  }

  /** A newer mutation exists elsewhere: drops older entries here. */
  outdate(key: string, newer: Stamp): Awaitable<Applied> {
    // A tombstone with a stamp too far ahead would block all mutations before its time.
    return this.observe(newer.version) ? this.#delete(key, before(newer)) : "refused";
  }

  /** The delete by pattern or clear that is newer than a mutation of a key; null = none is known. */
  invalidationOf(key: string, stamp: Stamp): Stamp | null {
    return this.#options.invalidations.covering(keyOf(key), stamp);
  }

  /**
   * A touched put is that put with a newer expiry: if the put is here, only its expiry changes; if a newer mutation is
   * or was here, nothing changes.
   */
  #put(put: ValueMutation, knowledge: Knowledge): Awaitable<Applied> {
    const { touches } = this.#options;
    if (put.kind === "touch")
      touches.note(put.key, { seen: put.stamp, stamp: put.touch, expiresAtMs: put.expiresAtMs });
    // An earlier message may have brought a newer touch.
    const touch = touches.of(put.key, put.stamp);
    if (touch === null) return this.#putAs(put, knowledge);
    return after(this.#putAs({ ...put, expiresAtMs: touch.expiresAtMs }, knowledge), (applied) =>
      after(this.settleTouch(put.key, put.stamp), (isThere) => (isThere ? "applied" : applied)),
    );
  }

  /** Sets an entry's expiry to that of its newest touch. False = the entry is absent, or replaced by a newer one. */
  settleTouch(key: string, seen: Stamp): Awaitable<boolean> {
    const { touches, engine } = this.#options;
    const touch = touches.of(key, seen);
    if (touch === null) return false;
    const { expiresAtMs } = touch;
    const outcome = engine.touch({ key: keyOf(key), expiresAtMs, seen, condition: null });
    return after(outcome, (done) => {
      if (done !== "touched") return false;
      // Another touch arrived while this one was applied, and may have overtaken it.
      return touches.of(key, seen) === touch || this.settleTouch(key, seen);
    });
  }

  #putAs(put: ValueMutation, knowledge: Knowledge): Awaitable<Applied> {
    const { engine, invalidations, nowMs } = this.#options;
    const { value, expiresAtMs, stamp } = put;
    const { bytes } = value;
    const making = engine.makeRoom?.(bytes.length) ?? null;
    if (making !== null) return making.then(() => this.#putAs(put, knowledge));
    // The put itself may be here with an earlier touch whose update has not arrived: it ends by its own expiry.
    if (expiresAtMs !== NEVER && expiresAtMs <= nowMs()) return this.#outdate(put.key, stamp);
    const key = keyOf(put.key);
    const newer = invalidations.covering(key, stamp);
    if (newer !== null) return this.#drop(key, newer);
    const condition = knowledge === "certain" ? null : PRESENT;
    const range = { source: bytes, start: 0, end: bytes.length };
    const outcome = engine.put({ key, ...range, attributes: value, expiresAtMs, stamp, condition });
    return outcome instanceof Promise
      ? outcome.then((later) => this.#afterPut(put, later, knowledge))
      : this.#afterPut(put, outcome, knowledge);
  }

  #afterPut({ key: name, stamp }: ValueMutation, outcome: PutOutcome, knowledge: Knowledge): Awaitable<Applied> {
    // The newest value cannot be stored here, so the one before must not stay.
    if (outcome === "too-large") return this.#delete(name, stamp);
    const key = keyOf(name);
    // No older entry is here, and a node that has an older one will get this put before it can place its own.
    if (outcome === "condition-failed" && knowledge === "unknown") return "unplaced";
    // It may be older than a forgotten entry, and newer than a later put, which must then be refused, too.
    if (outcome === "condition-failed") return this.#drop(key, before(stamp));
    if (outcome !== "stored") return "superseded";
    const newer = this.#options.invalidations.covering(key, stamp);
    return newer === null ? "applied" : this.#drop(key, newer);
  }

  #remove(mutation: Extract<Mutation, { readonly kind: "delete" | "outdated" }>): Awaitable<Applied> {
    const { key, stamp } = mutation;
    return mutation.kind === "delete" ? this.#delete(key, stamp) : this.#outdate(key, stamp);
  }

  /**
   * Removes entries older than a stamp, and keeps an entry with that stamp; a put with this stamp is refused from now
   * on.
   */
  #outdate(name: string, stamp: Stamp): Awaitable<Applied> {
    return after(this.#delete(name, before(stamp)), (applied) => {
      if (applied !== "superseded") return applied;
      // No delete lies between the two stamps: a delete under the condition removes only other versions.
      const condition: Condition = { kind: "revision-in", revisions: [stamp.version] };
      const request = { key: keyOf(name), stamp, condition, tombstoneUntilMs: NO_TOMBSTONE };
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
      this.#options.engine.delete({ key, stamp: newer, condition: null, tombstoneUntilMs: NO_TOMBSTONE }),
      () => "superseded",
    );
  }

  async #invalidate({ pattern, stamp }: InvalidateMutation): Promise<Applied> {
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
    // Parsed first, so that an invalid pattern is not recorded.
    const glob = pattern === null ? null : Glob.parse(pattern);
    invalidations.add(pattern, stamp);
    if (glob === null) await engine.clear(stamp);
    else await engine.deleteMatching(glob, stamp);
  }

  /** The stamp is not trusted, but the value that the mutation replaces must not be served either. */
  #refuse(mutation: Mutation): Awaitable<Applied> {
    const { engine, clock } = this.#options;
    const stamp: Stamp = { version: clock.next(), nodeId: 0 };
    if (mutation.kind === "invalidate") return this.#refuseInvalidate(mutation, stamp);
    const request = { key: keyOf(mutation.key), stamp, condition: null, tombstoneUntilMs: NO_TOMBSTONE };
    return after(engine.delete(request), () => "refused");
  }

  async #refuseInvalidate({ pattern }: InvalidateMutation, stamp: Stamp): Promise<Applied> {
    await this.#options.engine.deleteMatching(pattern === null ? EVERYTHING : Glob.parse(pattern), stamp);
    return "refused";
  }
}
