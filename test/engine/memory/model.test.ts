import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import type { Condition } from "../../../src/engine/engine.ts";
import { TICK_MS } from "../../../src/engine/memory/expiry-wheel.ts";
import type { MemoryEngine } from "../../../src/engine/memory/memory-engine.ts";
import type { KeyPattern } from "../../../src/model/matcher.ts";
import { keyOf, ManualClock, pruneAll, RecordingSink, smallEngine, stampOf } from "../../support/engine-io.ts";

/** What the model keeps of a key: a value, or the tombstone of a delete. */
interface ModelEntry {
  readonly value: Buffer | null;
  readonly contentType: string;
  readonly expiresAtMs: number;
  readonly version: number;
  readonly nodeId: number;
  /** Its value is older than its version. */
  readonly counted?: boolean;
}

type Operation =
  | { readonly do: "put"; key: number; bytes: number; ttlMs: number; type: number; age: number; if: number }
  | { readonly do: "get"; key: number }
  | { readonly do: "delete"; key: number; tombstoneMs: number; age: number; if: number }
  | { readonly do: "touch"; key: number; ttlMs: number; age: number }
  | { readonly do: "increment"; key: number; delta: number; ttlMs: number }
  | { readonly do: "deleteMatching"; digit: number; age: number }
  | { readonly do: "clear"; age: number }
  | { readonly do: "wait"; ms: number }
  | { readonly do: "prune" };

const CONTENT_TYPES = ["application/json", "text/plain", "image/x-something; v=1"];
const key = fc.nat(40);
const ttlMs = fc.oneof(
  fc.constant(0),
  fc.integer({ min: 1, max: 50_000 }),
  fc.integer({ min: 1, max: 40_000_000_000 }),
);
/** How many versions a mutation comes late. */
const age = fc.oneof({ weight: 6, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.nat(6) });
const condition = fc.oneof({ weight: 6, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.nat(4) });
const bytes = fc.oneof(fc.nat(60), fc.nat(900), fc.integer({ min: 0, max: 4_000 }));
const operation: fc.Arbitrary<Operation> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({ do: fc.constant("put" as const), key, bytes, ttlMs, type: fc.nat(2), age, if: condition }),
  },
  { weight: 8, arbitrary: fc.record({ do: fc.constant("get" as const), key }) },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant("delete" as const),
      key,
      tombstoneMs: fc.constantFrom(0, 0, 5_000),
      age,
      if: condition,
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("touch" as const), key, ttlMs, age }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("increment" as const), key, delta: fc.integer(), ttlMs }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("deleteMatching" as const), digit: fc.nat(9), age }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("clear" as const), age }) },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant("wait" as const),
      ms: fc.oneof(fc.nat(300), fc.nat(20_000), fc.nat(40_000_000)),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("prune" as const) }) },
);

/** Runs the same operations on the engine and on a Map. `exact` = there is memory for all, so nothing may be missing. */
class Comparison {
  private readonly clock = new ManualClock();
  private readonly startedMs = this.clock.nowMs;
  private readonly engine: MemoryEngine;
  private readonly model = new Map<string, ModelEntry>();
  private floor = stampOf(0);
  private version = 1_000;
  private readonly sink = new RecordingSink();

  constructor(
    private readonly limitBytes: number,
    private readonly exact: boolean,
  ) {
    this.engine = smallEngine(limitBytes, this.clock);
  }

  async run(operations: readonly Operation[]): Promise<void> {
    for (const operation of operations) {
      await this.step(operation);
      expect(this.engine.stats().usedBytes).toBeLessThanOrEqual(this.limitBytes);
    }
    for (let number = 0; number <= 40; number++) this.compareGet(`key:${number}`);
    this.compareScan();
  }

  private async step(operation: Operation): Promise<void> {
    switch (operation.do) {
      case "put":
        return this.put(operation);
      case "get":
        return this.compareGet(`key:${operation.key}`);
      case "delete":
        return this.delete(operation);
      case "touch":
        return this.touch(operation);
      case "increment":
        return this.increment(operation);
      case "deleteMatching":
        return this.deleteMatching(operation);
      case "clear":
        return this.clear(operation);
      case "wait":
        this.clock.nowMs += operation.ms;
        return;
      case "prune":
        return this.prune();
    }
  }

  private put(operation: Operation & { do: "put" }): void {
    const text = `key:${operation.key}`;
    this.syncEvicted(text);
    const stamp = this.stamp(operation.age);
    const value = Buffer.alloc(operation.bytes, `${text}=${stamp.version};`);
    const source = Buffer.concat([Buffer.from("before"), value, Buffer.from("after")]);
    const contentType = CONTENT_TYPES[operation.type] ?? "";
    const expiresAtMs = this.expiry(operation.ttlMs);
    const condition = this.condition(operation.if, text);
    const outcome = this.engine.put({
      key: keyOf(text),
      source,
      start: 6,
      end: 6 + value.length,
      attributes: { contentType },
      expiresAtMs,
      stamp,
      condition,
    });
    if (this.isSuperseded(text, stamp)) expect(outcome).toBe("superseded");
    else if (!this.holds(condition, text)) expect(outcome).toBe("condition-failed");
    else {
      expect(outcome).toBe("stored");
      this.model.set(text, { value, contentType, expiresAtMs, ...stamp });
    }
  }

  private delete(operation: Operation & { do: "delete" }): void {
    const text = `key:${operation.key}`;
    this.syncEvicted(text);
    const stamp = this.stamp(operation.age);
    const condition = this.condition(operation.if, text);
    const tombstoneUntilMs = this.expiry(operation.tombstoneMs);
    const outcome = this.engine.delete({ key: keyOf(text), stamp, condition, tombstoneUntilMs });
    if (this.isSuperseded(text, stamp)) return void expect(outcome).toBe("superseded");
    if (!this.holds(condition, text)) return void expect(outcome).toBe("condition-failed");
    expect(outcome).toBe(this.live(text) === null ? "absent" : "deleted");
    this.model.delete(text);
    if (tombstoneUntilMs !== 0) {
      this.model.set(text, { value: null, contentType: "", expiresAtMs: tombstoneUntilMs, ...stamp });
    }
  }

  private touch(operation: Operation & { do: "touch" }): void {
    const text = `key:${operation.key}`;
    this.syncEvicted(text);
    const live = this.live(text);
    // Some mean another entry than the one that is there.
    const seen = operation.age === 0 ? null : stampOf((live?.version ?? 0) + operation.age - 1, live?.nodeId);
    const expiresAtMs = this.expiry(operation.ttlMs);
    const outcome = this.engine.touch({ key: keyOf(text), expiresAtMs, seen, condition: null });
    const isMeant = live !== null && (seen === null || seen.version === live.version);
    expect(outcome).toBe(isMeant ? "touched" : "absent");
    if (isMeant) this.model.set(text, { ...live, expiresAtMs });
  }

  private increment(operation: Operation & { do: "increment" }): void {
    // Keys of their own, so that most of them hold numbers.
    const text = `count:${operation.key % 4}`;
    this.syncEvicted(text);
    const stamp = this.stamp(0);
    const expiresAtMsIfNew = this.expiry(operation.ttlMs);
    const outcome = this.engine.increment({
      key: keyOf(text),
      delta: operation.delta,
      expiresAtMsIfNew,
      stamp,
      condition: null,
    });
    if (this.isSuperseded(text, stamp)) return void expect(outcome).toEqual({ kind: "superseded" });
    const live = this.live(text);
    const value = (live === null ? 0 : Number(live.value?.toString())) + operation.delta;
    expect(outcome).toEqual({ kind: "incremented", value });
    const expiresAtMs = live === null ? expiresAtMsIfNew : live.expiresAtMs;
    this.model.set(text, {
      value: Buffer.from(String(value)),
      contentType: "application/json",
      expiresAtMs,
      ...stamp,
      counted: live !== null,
    });
  }

  private async deleteMatching(operation: Operation & { do: "deleteMatching" }): Promise<void> {
    const stamp = this.stamp(operation.age);
    const digit = String(operation.digit);
    const pattern: KeyPattern = {
      text: `*${digit}`,
      matches: (source, _start, end) => source[end - 1] === digit.charCodeAt(0),
    };
    const matching = [...this.model].filter(
      ([text, entry]) => text.endsWith(digit) && (isNotNewer(entry, stamp) || entry.counted),
    );
    const live = matching.filter(([text]) => this.live(text) !== null).length;
    const deleted = await this.engine.deleteMatching(pattern, stamp);
    if (this.exact) expect(deleted).toBe(live);
    else expect(deleted).toBeLessThanOrEqual(live);
    for (const [text, entry] of matching) if (entry.value !== null) this.model.delete(text);
  }

  private async clear(operation: Operation & { do: "clear" }): Promise<void> {
    const stamp = this.stamp(operation.age);
    await this.engine.clear(stamp);
    if (isNewer(stamp, this.floor)) this.floor = stamp;
    for (const [text, entry] of [...this.model]) {
      if (isNotNewer(entry, stamp) || entry.counted) this.model.delete(text);
    }
  }

  /** Pruning forgets the version of what it removes, tombstones too: everything whose tick is over. */
  private prune(): void {
    pruneAll(this.engine);
    for (const [text, { expiresAtMs }] of [...this.model]) {
      if (expiresAtMs !== 0 && this.tick(expiresAtMs) < this.tick(this.clock.nowMs)) this.model.delete(text);
    }
  }

  private tick(timeMs: number): number {
    return Math.floor((timeMs - this.startedMs) / TICK_MS);
  }

  private compareGet(text: string): void {
    this.syncEvicted(text);
    const live = this.live(text);
    const found = this.engine.get(keyOf(text), this.sink);
    expect(found).toBe(live !== null);
    if (live === null) return;
    expect(this.sink.target.equals(live.value ?? Buffer.alloc(0))).toBe(true);
    expect(this.sink.contentType).toBe(live.contentType);
    expect(this.sink.expiresAtMs).toBe(live.expiresAtMs);
    expect(this.sink.revision).toBe(live.version);
    expect(this.sink.nodeId).toBe(live.nodeId);
  }

  private compareScan(): void {
    const seen: string[] = [];
    let cursor: string | null = null;
    do {
      const page = this.engine.scan({ pattern: null, cursor, limit: 3 });
      seen.push(...page.keys);
      cursor = page.cursor;
    } while (cursor !== null);
    const expected = [...this.model.keys()].filter((text) => this.live(text) !== null);
    expect(seen.sort()).toEqual(expected.sort());
  }

  /** Under memory pressure a key may be gone; then it is as if it had never been. What is there must be right. */
  private syncEvicted(text: string): void {
    if (this.exact) return;
    const entry = this.model.get(text);
    if (entry === undefined) return;
    // A dropped tombstone, or an expired entry, can't be told from the outside: its shard's floor took its place.
    const probe = this.engine.get(keyOf(text), this.sink);
    if (!probe && this.live(text) !== null) this.model.delete(text);
    if (probe) expect(this.live(text)?.version).toBe(this.sink.revision);
  }

  private live(text: string): ModelEntry | null {
    const entry = this.model.get(text);
    if (entry === undefined || entry.value === null) return null;
    return entry.expiresAtMs === 0 || entry.expiresAtMs > this.clock.nowMs ? entry : null;
  }

  private isSuperseded(text: string, stamp: { version: number; nodeId: number }): boolean {
    if (!isNewer(stamp, this.floor)) return true;
    const entry = this.model.get(text);
    if (entry === undefined) return false;
    return entry.version > stamp.version || (entry.version === stamp.version && entry.nodeId >= stamp.nodeId);
  }

  private holds(condition: Condition | null, text: string): boolean {
    const live = this.live(text);
    if (condition === null) return true;
    if (condition.kind === "absent") return live === null;
    if (condition.kind === "present") return live !== null;
    if (condition.kind === "revision-in") return live !== null && condition.revisions.includes(live.version);
    return live === null || !condition.revisions.includes(live.version);
  }

  private condition(choice: number, text: string): Condition | null {
    const revisions = [1, this.model.get(text)?.version ?? 2];
    if (choice === 1) return { kind: "absent" };
    if (choice === 2) return { kind: "present" };
    if (choice === 3) return { kind: "revision-in", revisions };
    if (choice === 4) return { kind: "revision-not-in", revisions };
    return null;
  }

  private stamp(age: number) {
    this.version += 1;
    return stampOf(this.version - age, this.version % 7 === 0 ? 0xfedcba98 : 0);
  }

  private expiry(ttl: number): number {
    return ttl === 0 ? 0 : this.clock.nowMs + ttl;
  }
}

function isNewer(stamp: { version: number; nodeId: number }, than: { version: number; nodeId: number }): boolean {
  return stamp.version > than.version || (stamp.version === than.version && stamp.nodeId > than.nodeId);
}

function isNotNewer(entry: ModelEntry, stamp: { version: number; nodeId: number }): boolean {
  return !isNewer(entry, stamp);
}

describe("the memory engine, beside a Map with a clock", () => {
  test("does the same as long as memory suffices", async () => {
    const operations = fc.array(operation, { minLength: 1, maxLength: 120 });
    await fc.assert(
      fc.asyncProperty(operations, (list) => new Comparison(4 * 1024 * 1024, true).run(list)),
      { numRuns: 2_500, seed: 20_240_101 },
    );
  }, 300_000);

  test("may forget, but never serves anything else, when memory is short", async () => {
    const operations = fc.array(operation, { minLength: 50, maxLength: 300 });
    await fc.assert(
      fc.asyncProperty(operations, fc.integer({ min: 24_000, max: 60_000 }), (list, limit) =>
        new Comparison(limit, false).run(list.filter(isFresh)),
      ),
      { numRuns: 2_500, seed: 20_240_102 },
    );
  }, 300_000);
});

/** Late mutations need what eviction may have forgotten. */
function isFresh(operation: Operation): boolean {
  return !("age" in operation) || operation.age === 0;
}
