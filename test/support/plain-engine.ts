import {
  type Condition,
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
import { isSame, type Stamp } from "../../src/model/stamp.ts";
import { holds, increased } from "./engine-rules.ts";

interface Entry {
  value: Buffer;
  contentType: string;
  expiresAtMs: number;
  stamp: Stamp;
}

interface Tombstone {
  untilMs: number;
  stamp: Stamp;
}

/** The contract over plain Maps: slow, unbounded, and plainly right. It answers at once. */
export class PlainEngine implements Engine {
  readonly name = "memory";
  readonly answersAtOnce = true;
  readonly refusesForgotten = false;
  readonly #clock: () => number;
  readonly #entries = new Map<string, Entry>();
  readonly #tombstones = new Map<string, Tombstone>();
  readonly #counts = { hits: 0, misses: 0, sets: 0, deletes: 0 };
  #floor: Stamp | null = null;

  constructor(clock: () => number) {
    this.#clock = clock;
  }

  get(key: Key, sink: EntrySink): boolean {
    const entry = this.#live(textOf(key));
    if (entry === null) {
      this.#counts.misses++;
      return false;
    }
    this.#counts.hits++;
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

  peek(key: Key, sink: EntrySink): boolean {
    const before = { ...this.#counts };
    const found = this.get(key, sink);
    Object.assign(this.#counts, before);
    return found;
  }

  stampOf(key: Key): Stamp | null {
    const name = textOf(key);
    const [entry, tombstone] = [this.#entries.get(name)?.stamp ?? null, this.#tombstones.get(name)?.stamp ?? null];
    if (entry === null || tombstone === null) return entry ?? tombstone;
    return isNewer(entry, tombstone) ? entry : tombstone;
  }

  put(request: PutRequest): PutOutcome {
    const name = textOf(request.key);
    const refused = this.#refuses(name, request);
    if (refused !== null) return refused;
    const { source, start, end, attributes, expiresAtMs, stamp } = request;
    const { contentType } = attributes;
    this.#entries.set(name, { value: Buffer.from(source.subarray(start, end)), contentType, expiresAtMs, stamp });
    this.#tombstones.delete(name);
    this.#counts.sets++;
    return "stored";
  }

  delete(request: DeleteRequest): DeleteOutcome {
    const name = textOf(request.key);
    const refused = this.#refuses(name, request);
    if (refused !== null) return refused;
    const wasThere = this.#live(name) !== null;
    this.#entries.delete(name);
    if (request.tombstoneUntilMs !== NEVER) {
      this.#tombstones.set(name, { untilMs: request.tombstoneUntilMs, stamp: request.stamp });
    }
    if (wasThere) this.#counts.deletes++;
    return wasThere ? "deleted" : "absent";
  }

  touch(request: TouchRequest): TouchOutcome {
    const name = textOf(request.key);
    const entry = this.#live(name);
    if (!holds(request.condition, entry)) return "condition-failed";
    if (entry === null || (request.seen !== null && !isSame(request.seen, entry.stamp))) return "absent";
    entry.expiresAtMs = request.expiresAtMs;
    return "touched";
  }

  increment(request: IncrementRequest): IncrementOutcome {
    const name = textOf(request.key);
    const refused = this.#refuses(name, request);
    if (refused !== null) return { kind: refused };
    const entry = this.#live(name);
    const outcome = increased(entry, request.delta);
    if (outcome.kind !== "incremented") return outcome;
    this.#entries.set(name, {
      value: Buffer.from(String(outcome.value)),
      contentType: JSON_CONTENT_TYPE,
      expiresAtMs: entry?.expiresAtMs ?? request.expiresAtMsIfNew,
      stamp: request.stamp,
    });
    this.#counts.sets++;
    return outcome;
  }

  scan({ pattern, cursor, limit }: ScanRequest): ScanPage {
    if (cursor !== null && !cursor.startsWith("after:")) throw new InvalidCursorError(cursor);
    const after = cursor === null ? null : cursor.slice("after:".length);
    const names = this.#matching(pattern).sort();
    const rest = after === null ? names : names.filter((name) => name > after);
    const keys = rest.slice(0, limit);
    return { keys, cursor: rest.length > limit ? `after:${keys[keys.length - 1]}` : null };
  }

  async deleteMatching(pattern: KeyPattern, stamp: Stamp): Promise<number> {
    await Bun.sleep(0);
    return this.#deleteAll(pattern, stamp);
  }

  clear(stamp: Stamp): Promise<number> {
    if (this.#floor === null || isNewer(stamp, this.#floor)) this.#floor = stamp;
    return Promise.resolve(this.#deleteAll(null, stamp));
  }

  stats(): EngineStats {
    return {
      ...this.#counts,
      entries: this.#entries.size,
      usedBytes: null,
      limitBytes: null,
      evictions: 0,
      evictionsByReason: {},
      expirations: 0,
    };
  }

  health(): EngineHealth {
    return { status: "ok", detail: "", sinceMs: 0 };
  }

  async close(): Promise<void> {}

  #refuses(
    name: string,
    request: { stamp: Stamp; condition: Condition | null },
  ): "superseded" | "condition-failed" | null {
    const entry = this.#live(name);
    const tombstone = this.#tombstones.get(name);
    const remembered = tombstone !== undefined && tombstone.untilMs > this.#clock() ? tombstone.stamp : null;
    for (const known of [entry?.stamp ?? null, remembered, this.#floor]) {
      if (known !== null && isNewer(known, request.stamp)) return "superseded";
    }
    return holds(request.condition, entry) ? null : "condition-failed";
  }

  #live(name: string): Entry | null {
    const entry = this.#entries.get(name);
    if (entry === undefined) return null;
    if (entry.expiresAtMs === NEVER || entry.expiresAtMs > this.#clock()) return entry;
    this.#entries.delete(name);
    return null;
  }

  #matching(pattern: KeyPattern | null): string[] {
    return [...this.#entries.keys()].filter((name) => {
      const bytes = Buffer.from(name);
      return this.#live(name) !== null && (pattern === null || pattern.matches(bytes, 0, bytes.length));
    });
  }

  #deleteAll(pattern: KeyPattern | null, stamp: Stamp): number {
    let deleted = 0;
    for (const name of this.#matching(pattern)) {
      const entry = this.#entries.get(name);
      if (entry === undefined || isNewer(entry.stamp, stamp)) continue;
      this.#entries.delete(name);
      deleted++;
    }
    this.#counts.deletes += deleted;
    return deleted;
  }
}

function isNewer(a: Stamp, b: Stamp): boolean {
  return a.version > b.version || (a.version === b.version && a.nodeId > b.nodeId);
}

function textOf(key: Key): string {
  return key.bytes.toString("utf8", 0, key.length);
}
