import {
  type DeleteOutcome,
  type DeleteRequest,
  type Engine,
  type EngineHealth,
  type EngineStats,
  type EntrySink,
  type IncrementOutcome,
  type IncrementRequest,
  InvalidCursorError,
  type PutOutcome,
  type PutRequest,
  type ScanPage,
  type ScanRequest,
  type TouchOutcome,
  type TouchRequest,
} from "../../src/engine/engine.ts";
import { JSON_CONTENT_TYPE, NEVER } from "../../src/model/entry.ts";
import type { Key } from "../../src/model/key.ts";
import type { KeyPattern } from "../../src/model/matcher.ts";
import { isNewer, isSame, type Stamp } from "../../src/model/stamp.ts";
import { holds, increased } from "../support/engine-rules.ts";

export interface Stored {
  readonly value: Buffer;
  readonly contentType: string;
  readonly expiresAtMs: number;
  readonly stamp: Stamp;
}

/** What an engine holds. That of a server elsewhere outlives the process. */
export class ModelMemory {
  readonly entries = new Map<string, Stored>();
  readonly tombstones = new Map<string, { readonly stamp: Stamp; readonly untilMs: number }>();
  readonly forgotten = new Map<number, number>();
  floor: Stamp | null = null;
}

/**
 * The contract of engines over plain maps, in two kinds: one that knows what it has forgotten (as the memory engine), in
 * buckets that several keys share; and one that answers later and forgets in silence (as Redis).
 */
export class ModelEngine implements Engine {
  readonly name: "memory" | "redis";
  readonly answersAtOnce: boolean;
  readonly refusesForgotten: boolean;

  readonly #counts = { hits: 0, misses: 0, sets: 0, deletes: 0 };

  constructor(
    readonly memory: ModelMemory,
    private readonly options: {
      readonly kind: "memory" | "redis";
      readonly nowMs: () => number;
      readonly buckets: number;
      readonly pause: () => Promise<void>;
      /** What happens to entries, for whoever looks into a seed. */
      readonly trace: (line: string) => unknown;
      /** Told of what depended on the stored entry: it is here before it is recorded. */
      readonly onConditional: (name: string, entry: Stored) => void;
    },
  ) {
    this.name = options.kind;
    this.refusesForgotten = options.kind === "memory";
    this.answersAtOnce = options.kind === "memory";
  }

  get(key: Key, sink: EntrySink): boolean {
    const isHit = this.peek(key, sink);
    if (isHit) this.#counts.hits += 1;
    else this.#counts.misses += 1;
    return isHit;
  }

  peek(key: Key, sink: EntrySink): boolean {
    const entry = this.live(textOf(key));
    if (entry === null) return false;
    const { value, contentType, expiresAtMs, stamp } = entry;
    const wanted = sink.begin({
      valueLength: value.length,
      attributes: { contentType },
      expiresAtMs,
      revision: stamp.version,
      stamp,
    });
    if (wanted) value.copy(sink.target, sink.offset);
    return true;
  }

  stampOf(key: Key): Stamp | null {
    return this.#known(textOf(key));
  }

  put(request: PutRequest): PutOutcome | Promise<PutOutcome> {
    const value = Buffer.from(request.source.subarray(request.start, request.end));
    const name = textOf(request.key);
    return this.#answer(() => this.#put(name, request, value));
  }

  delete(request: DeleteRequest): DeleteOutcome | Promise<DeleteOutcome> {
    const name = textOf(request.key);
    return this.#answer(() => this.#delete(name, request));
  }

  touch(request: TouchRequest): TouchOutcome | Promise<TouchOutcome> {
    const name = textOf(request.key);
    const { seen, expiresAtMs, condition } = request;
    return this.#answer(() => {
      const entry = this.live(name);
      if (!holds(condition, entry)) return "condition-failed";
      if (entry === null || (seen !== null && !isSame(seen, entry.stamp))) return "absent";
      this.memory.entries.set(name, { ...entry, expiresAtMs });
      this.options.trace(`touch ${name} ${entry.stamp.version}/${entry.stamp.nodeId}`);
      return "touched";
    });
  }

  increment(request: IncrementRequest): IncrementOutcome | Promise<IncrementOutcome> {
    const name = textOf(request.key);
    return this.#answer(() => this.#increment(name, request));
  }

  scan({ pattern, cursor, limit }: ScanRequest): ScanPage {
    if (cursor !== null && !cursor.startsWith(">")) throw new InvalidCursorError(cursor);
    const names = [...this.memory.entries.keys()].sort().filter((name) => {
      const bytes = Buffer.from(name);
      return this.live(name) !== null && (pattern === null || pattern.matches(bytes, 0, bytes.length));
    });
    const rest = cursor === null ? names : names.filter((name) => name > cursor.slice(1));
    const keys = rest.slice(0, limit);
    return { keys, cursor: rest.length > limit ? `>${keys.at(-1)}` : null };
  }

  async deleteMatching(pattern: KeyPattern, stamp: Stamp): Promise<number> {
    let deleted = 0;
    for (const name of [...this.memory.entries.keys()].sort()) {
      await this.options.pause();
      const entry = this.memory.entries.get(name);
      const bytes = Buffer.from(name);
      if (entry === undefined || !pattern.matches(bytes, 0, bytes.length)) continue;
      if (isNewer(entry.stamp, stamp)) continue;
      this.evict(name);
      deleted++;
    }
    this.#counts.deletes += deleted;
    return deleted;
  }

  async clear(stamp: Stamp): Promise<number> {
    const { memory } = this;
    if (memory.floor === null || isNewer(stamp, memory.floor)) memory.floor = stamp;
    let deleted = 0;
    for (const name of [...memory.entries.keys()]) {
      await this.options.pause();
      const entry = memory.entries.get(name);
      if (entry === undefined || isNewer(entry.stamp, stamp)) continue;
      this.evict(name);
      deleted++;
    }
    for (const [name, tombstone] of memory.tombstones) {
      if (!isNewer(tombstone.stamp, stamp)) memory.tombstones.delete(name);
    }
    return deleted;
  }

  stats(): EngineStats {
    const none = { evictions: 0, evictionsByReason: {}, expirations: 0 };
    return { ...none, ...this.#counts, entries: this.memory.entries.size, usedBytes: null, limitBytes: null };
  }

  health(): EngineHealth {
    return { status: "ok", detail: "", sinceMs: 0 };
  }

  /** Prunes what has expired. */
  maintain(): number {
    const nowMs = this.options.nowMs();
    for (const [name, { expiresAtMs }] of this.memory.entries) {
      if (expiresAtMs !== NEVER && expiresAtMs <= nowMs) this.evict(name);
    }
    for (const [name, { untilMs, stamp }] of this.memory.tombstones) {
      if (untilMs > nowMs) continue;
      this.memory.tombstones.delete(name);
      this.#forget(name, stamp.version);
    }
    return 1000;
  }

  async close(): Promise<void> {}

  evict(name: string): void {
    const entry = this.memory.entries.get(name);
    if (entry === undefined) return;
    this.options.trace(`forget ${name} ${entry.stamp.version}/${entry.stamp.nodeId}`);
    this.memory.entries.delete(name);
    this.#forget(name, entry.stamp.version);
  }

  live(name: string): Stored | null {
    const entry = this.memory.entries.get(name);
    if (entry === undefined) return null;
    return entry.expiresAtMs !== NEVER && entry.expiresAtMs <= this.options.nowMs() ? null : entry;
  }

  #put(name: string, request: PutRequest, value: Buffer): PutOutcome {
    const { attributes, expiresAtMs, stamp, condition } = request;
    const { contentType } = attributes;
    if (this.#isSuperseded(name, stamp)) {
      this.options.trace(`put refused ${name} ${stamp.version}/${stamp.nodeId}`);
      return "superseded";
    }
    if (!holds(condition, this.live(name))) return "condition-failed";
    this.#store(name, { value, contentType, expiresAtMs, stamp });
    if (condition !== null) this.options.onConditional(name, { value, contentType, expiresAtMs, stamp });
    return "stored";
  }

  #increment(name: string, { delta, expiresAtMsIfNew, stamp, condition }: IncrementRequest): IncrementOutcome {
    if (this.#isSuperseded(name, stamp)) return { kind: "superseded" };
    const entry = this.live(name);
    if (!holds(condition, entry)) return { kind: "condition-failed" };
    const outcome = increased(entry, delta);
    if (outcome.kind !== "incremented") return outcome;
    const { contentType, expiresAtMs } = entry ?? { contentType: JSON_CONTENT_TYPE, expiresAtMs: expiresAtMsIfNew };
    const counted = { value: Buffer.from(String(outcome.value)), contentType, expiresAtMs, stamp };
    this.#store(name, counted);
    this.options.onConditional(name, counted);
    return outcome;
  }

  #store(name: string, entry: Stored): void {
    this.memory.entries.set(name, entry);
    this.#counts.sets += 1;
    this.options.trace(`put ${name} ${entry.stamp.version}/${entry.stamp.nodeId}`);
    this.memory.tombstones.delete(name);
  }

  #delete(name: string, { stamp, tombstoneUntilMs, condition }: DeleteRequest): DeleteOutcome {
    if (this.#isSuperseded(name, stamp)) return "superseded";
    if (!holds(condition, this.live(name))) return "condition-failed";
    const wasThere = this.live(name) !== null;
    this.options.trace(`delete ${name} ${stamp.version}/${stamp.nodeId}`);
    this.memory.entries.delete(name);
    // An older tombstone goes, too, as in the real engine: what is known of a key passes before what is remembered of many.
    this.memory.tombstones.delete(name);
    if (tombstoneUntilMs !== NEVER) this.memory.tombstones.set(name, { stamp, untilMs: tombstoneUntilMs });
    else this.#forget(name, stamp.version);
    if (wasThere) this.#counts.deletes += 1;
    return wasThere ? "deleted" : "absent";
  }

  #known(name: string): Stamp | null {
    const entry = this.memory.entries.get(name)?.stamp ?? null;
    const tombstone = this.memory.tombstones.get(name)?.stamp ?? null;
    if (entry === null || tombstone === null) return entry ?? tombstone;
    return isNewer(entry, tombstone) ? entry : tombstone;
  }

  #isSuperseded(name: string, stamp: Stamp): boolean {
    const { floor } = this.memory;
    if (floor !== null && !isNewer(stamp, floor)) return true;
    const known = this.#known(name);
    if (known !== null) return !isNewer(stamp, known);
    return this.refusesForgotten && stamp.version <= (this.memory.forgotten.get(this.#bucketOf(name)) ?? 0);
  }

  #forget(name: string, version: number): void {
    const bucket = this.#bucketOf(name);
    if (version > (this.memory.forgotten.get(bucket) ?? 0)) this.memory.forgotten.set(bucket, version);
  }

  #bucketOf(name: string): number {
    return Bun.hash.crc32(name) % this.options.buckets;
  }

  #answer<T>(work: () => T): T | Promise<T> {
    if (this.answersAtOnce) return work();
    return this.options.pause().then(work);
  }
}

function textOf(key: Key): string {
  return key.bytes.toString("utf8", 0, key.length);
}
