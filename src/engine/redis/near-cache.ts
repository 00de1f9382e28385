import { NO_TOMBSTONE } from "../../model/entry.ts";
import { copyKey, type Key } from "../../model/key.ts";
import { EVERYTHING, type KeyPattern } from "../../model/matcher.ts";
import { toVersion } from "../../model/stamp.ts";
import type { Engine, EntryInfo, EntrySink } from "../engine.ts";
import type { RedisClient } from "./client.ts";
import { deliver, type Fetched } from "./fetched.ts";
import { InvalidationFeed } from "./invalidation-feed.ts";
import { LATEST } from "./latest.ts";
import type { Names } from "./names.ts";
import { KeyEpochs } from "./near-epochs.ts";
import type { RedisEngineOptions } from "./options.ts";
import type { RemoteEngine } from "./remote-engine.ts";
import { NO_STAMP } from "./stored-form.ts";

/**
 * Keeps hot entries in front of Redis, in a memory engine that all threads of the node share.
 *
 * A fill is a race: the entry may change in Redis between the read and the put here. Each key has an epoch that every
 * change notification advances; a fill is kept only if the epoch is the same as before the read, and is removed again
 * if it advanced during the put. Later notifications find the entry and remove it.
 *
 * An entry is stored here with its revision as version, and is removed before it is put, so that the memory engine's
 * version rule never prefers an old copy.
 */
export class NearCache {
  readonly #remote: RemoteEngine;
  readonly #near: Engine;
  readonly #names: Names;
  readonly #epochs: KeyEpochs;
  readonly #feed: InvalidationFeed;
  readonly #sink: NearSink;
  /** Null = the near cache is bypassed, because it may be outdated, or is being emptied. */
  #generation: symbol | null = null;
  #emptying = false;
  /** When the feed of changes was lost, if it is. */
  #deafSinceMs = Number.NEGATIVE_INFINITY;
  readonly #clock: () => number;
  #closed = false;

  constructor(remote: RemoteEngine, near: Engine, client: RedisClient, names: Names, options: RedisEngineOptions) {
    this.#remote = remote;
    this.#near = near;
    this.#names = names;
    this.#clock = options.clock;
    this.#epochs = new KeyEpochs(options.nearEpochs);
    this.#sink = new NearSink(options.versioned);
    this.#feed = new InvalidationFeed({
      client,
      connection: options,
      onChanged: (changed) => this.#forgetAll(changed),
      onLost: () => this.#bypass(),
      onComplete: () => void this.#emptyAndUse(),
    });
  }

  /** False = the entry has to be loaded. */
  get(key: Key, sink: EntrySink): boolean {
    if (this.#generation !== null && this.#near.get(key, this.#sink.around(sink)) === true) {
      this.#remote.countNearHit();
      return true;
    }
    return false;
  }

  /** Returns an entry from before the outage, if it was valid at most `maxAgeMs` ago. */
  getStale(key: Key, sink: EntrySink, maxAgeMs: number): boolean {
    const isHearing = this.#generation !== null;
    if (sink.markStale === undefined || (!isHearing && this.#clock() - this.#deafSinceMs > maxAgeMs)) return false;
    const found = this.#near.get(key, this.#sink.around(sink, "stale")) === true;
    if (!found) return false;
    this.#remote.countNearHit();
    return true;
  }

  /** Loads an entry from Redis, and keeps it. */
  async load(key: Key, sink: EntrySink): Promise<boolean> {
    const own = copyKey(key);
    const generation = this.#generation;
    const epoch = this.#epochs.of(own);
    const fetched = await this.#remote.fetch(this.#names.ofEntry(own));
    const mayKeep = fetched !== null && generation !== null && generation === this.#generation;
    if (mayKeep && epoch === this.#epochs.of(own) && this.#feed.isComplete) this.#keep(own, fetched, epoch);
    return deliver(fetched, sink);
  }

  /** Runs a mutation of this node, so that no read after its answer finds the entry from before it. */
  async changing<T>(key: Key, change: () => Promise<T>): Promise<T> {
    const kept = copyKey(key);
    const outcome = change();
    this.#forget(kept);
    try {
      return await outcome;
    } finally {
      this.#forget(kept);
    }
  }

  /** The same for all keys that match; null = all keys. */
  async changingAll<T>(pattern: KeyPattern | null, change: () => Promise<T>): Promise<T> {
    try {
      return await change();
    } finally {
      this.#epochs.moveAll();
      await this.#near.deleteMatching(pattern ?? EVERYTHING, LATEST);
    }
  }

  close(): void {
    this.#closed = true;
    this.#generation = null;
    this.#feed.close();
  }

  #keep(key: Key, { bytes, start, end, attributes, expiresAtMs, revision, stamp }: Fetched, epoch: number): void {
    this.#remove(key);
    // The entry may be kept next time, when there is room.
    if ((this.#near.makeRoom?.(end - start) ?? null) !== null) return;
    this.#near.put({
      key,
      source: bytes,
      start,
      end,
      attributes,
      expiresAtMs,
      stamp: { version: toVersion(revision), nodeId: stamp.nodeId },
      condition: null,
    });
    // Another thread may have received a change between the check and the put.
    if (epoch !== this.#epochs.of(key)) this.#remove(key);
  }

  #forgetAll(names: readonly Buffer[]): void {
    for (const name of names) {
      const start = this.#names.keyStart(name);
      if (start >= 0) this.#forget({ bytes: name.subarray(start), length: name.length - start });
    }
  }

  #forget(key: Key): void {
    this.#epochs.move(key);
    this.#remove(key);
  }

  #remove(key: Key): void {
    this.#near.delete({ key, stamp: LATEST, condition: null, tombstoneUntilMs: NO_TOMBSTONE });
  }

  #bypass(): void {
    if (this.#generation !== null) this.#deafSinceMs = this.#clock();
    this.#generation = null;
    this.#epochs.moveAll();
  }

  /** All links are up (again). Entries from before may have changed unnoticed. */
  async #emptyAndUse(): Promise<void> {
    if (this.#generation !== null || this.#emptying) return;
    this.#emptying = true;
    try {
      await this.#near.deleteMatching(EVERYTHING, LATEST);
    } finally {
      this.#emptying = false;
    }
    if (!this.#closed && this.#feed.isComplete) this.#generation = Symbol("near cache");
  }
}

/** Reports an entry as the Redis engine does: its version here is its revision there. */
class NearSink implements EntrySink {
  readonly #versioned: boolean;
  #sink: EntrySink | null = null;
  #age: "fresh" | "stale" = "fresh";

  constructor(versioned: boolean) {
    this.#versioned = versioned;
  }

  around(sink: EntrySink, age: "fresh" | "stale" = "fresh"): this {
    this.#sink = sink;
    this.#age = age;
    return this;
  }

  begin(entry: EntryInfo): boolean {
    const { valueLength, attributes, expiresAtMs, stamp } = entry;
    const revision: number = stamp.version;
    if (this.#age === "stale") this.#sink?.markStale?.();
    return (
      this.#sink?.begin({
        valueLength,
        attributes,
        expiresAtMs,
        revision,
        stamp: this.#versioned ? stamp : NO_STAMP,
      }) ?? false
    );
  }

  get target(): Buffer {
    return this.#sink?.target ?? NOTHING;
  }

  get offset(): number {
    return this.#sink?.offset ?? 0;
  }
}

const NOTHING = Buffer.alloc(0);
