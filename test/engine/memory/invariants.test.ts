import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { MemoryEngine } from "../../../src/engine/memory/memory-engine.ts";
import { JSON_ATTRIBUTES, NEVER } from "../../../src/model/entry.ts";
import { isNewer, type Stamp } from "../../../src/model/stamp.ts";
import { checkInvariants } from "../../support/engine-invariants.ts";
import { keyOf, ManualClock, pruneAll, RecordingSink, stampOf } from "../../support/engine-io.ts";

const MIB = 1024 * 1024;
const KINDS = ["put", "get", "delete", "tombstone", "touch", "increment", "pattern", "clear", "wait", "prune"] as const;

const key = fc.nat(60);
const bytes = fc.oneof(fc.nat(60), fc.nat(900), fc.integer({ min: 0, max: 9_000 }), fc.nat(40_000));
const ttlMs = fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 2_000 }), fc.integer({ min: 1, max: 40_000_000_000 }));
/** How many versions a mutation comes late. */
const age = fc.oneof({ weight: 5, arbitrary: fc.constant(0) }, { weight: 2, arbitrary: fc.nat(60) });
const step = fc.record({
  kind: fc.oneof(
    { weight: 8, arbitrary: fc.constant("put" as const) },
    { weight: 8, arbitrary: fc.constantFrom(...KINDS.slice(1, 6)) },
    { weight: 3, arbitrary: fc.constantFrom(...KINDS.slice(6)) },
  ),
  key,
  bytes,
  ttlMs,
  age,
  nodeId: fc.nat(3),
  thread: fc.nat(1),
});
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

/** Two engines on one memory, as two threads have them; remembers what no put may undo. */
class Run {
  readonly clock = new ManualClock();
  readonly engines: readonly MemoryEngine[];
  private readonly sink = new RecordingSink();
  private readonly tombstones = new Map<string, { stamp: Stamp; untilMs: number }>();
  private cleared = stampOf(0);
  private version = 1_000;

  constructor(
    limitBytes: number,
    private readonly versioned: boolean,
  ) {
    const thread = { clock: this.clock.read, letOthersRun: () => Promise.resolve() };
    const first = MemoryEngine.create({ ...thread, limitBytes, threads: 2, versioned, randomWord: () => 0x5eed });
    this.engines = [first, MemoryEngine.attach(first.handle, 1, thread)];
  }

  async steps(steps: readonly Step[]): Promise<void> {
    for (const [number, one] of steps.entries()) {
      await this.step(one);
      if (number % 8 === 0) this.check();
    }
    this.check();
  }

  private check(): void {
    for (const engine of this.engines) checkInvariants(engine.handle);
  }

  private async step({ kind, key: number, bytes: length, ttlMs: ttl, age: late, nodeId, thread }: Step): Promise<void> {
    const engine = this.engines[thread];
    if (engine === undefined) throw new Error("no such thread");
    const text = `key:${number}`;
    const keyed = { key: keyOf(text), stamp: stampOf(++this.version - late, nodeId), condition: null };
    const expiresAtMs = ttl === 0 ? NEVER : this.clock.nowMs + ttl;
    if (kind === "put") {
      const range = { source: Buffer.alloc(length, text), start: 0, end: length };
      const outcome = engine.put({ ...keyed, ...range, attributes: JSON_ATTRIBUTES, expiresAtMs });
      this.expectAllowed(text, keyed.stamp, outcome === "stored");
    } else if (kind === "get") engine.get(keyed.key, this.sink);
    else if (kind === "delete")
      this.replaced(text, engine.delete({ ...keyed, tombstoneUntilMs: NEVER }) !== "superseded");
    else if (kind === "tombstone") this.bury(engine, text, keyed.stamp);
    else if (kind === "touch") engine.touch({ ...keyed, expiresAtMs, seen: null });
    else if (kind === "increment") {
      const { kind: outcome } = engine.increment({ ...keyed, delta: 1, expiresAtMsIfNew: expiresAtMs });
      this.replaced(text, outcome === "incremented");
    } else if (kind === "pattern") await this.deletePattern(engine, number % 10, keyed.stamp);
    else if (kind === "clear") {
      await engine.clear(keyed.stamp);
      if (isNewer(keyed.stamp, this.cleared)) this.cleared = keyed.stamp;
    } else if (kind === "wait") this.clock.nowMs += ttl % 50_000_000;
    else pruneAll(engine);
  }

  private bury(engine: MemoryEngine, text: string, stamp: Stamp): void {
    const untilMs = this.clock.nowMs + 60_000;
    const outcome = engine.delete({ key: keyOf(text), stamp, condition: null, tombstoneUntilMs: untilMs });
    if (outcome === "deleted" || outcome === "absent") this.tombstones.set(text, { stamp, untilMs });
  }

  private deletePattern(engine: MemoryEngine, digit: number, stamp: Stamp): Promise<number> {
    const last = 0x30 + digit;
    return engine.deleteMatching({ text: `*${digit}`, matches: (source, _, end) => source[end - 1] === last }, stamp);
  }

  /**
   * However short memory is: no older value comes back after a delete before its time, nor after a clear. A memory
   * without versions forgets a delete once something newer takes its place, which may then go itself.
   */
  private expectAllowed(text: string, stamp: Stamp, isStored: boolean): void {
    if (!isStored) return;
    expect(isNewer(stamp, this.cleared)).toBe(true);
    const tombstone = this.tombstones.get(text);
    if (tombstone === undefined || tombstone.untilMs <= this.clock.nowMs) return;
    expect([stamp, isNewer(stamp, tombstone.stamp)]).toEqual([stamp, true]);
    this.replaced(text, true);
  }

  private replaced(text: string, isDone: boolean): void {
    if (isDone && !this.versioned) this.tombstones.delete(text);
  }
}

describe.each([
  ["plain", false],
  ["versioned", true],
] as const)("a %s memory holds together after any operations on two threads", (_, versioned) => {
  const steps = fc.array(step, { minLength: 20, maxLength: 250, size: "max" });

  test("where there is room", async () => {
    await fc.assert(
      fc.asyncProperty(steps, (list) => new Run(8 * MIB, versioned).steps(list)),
      { numRuns: 150, seed: 20_240_201 },
    );
  }, 300_000);

  test("where everything has to be evicted", async () => {
    const limitBytes = fc.integer({ min: 40_000, max: 200_000 });
    await fc.assert(
      fc.asyncProperty(steps, limitBytes, (list, limit) => new Run(limit, versioned).steps(list)),
      { numRuns: 600, seed: 20_240_202 },
    );
  }, 300_000);
});
