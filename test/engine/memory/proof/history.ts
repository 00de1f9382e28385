import type { MemoryHandle, MemoryViews } from "../../../../src/engine/memory/arena.ts";
import { TICK_MS } from "../../../../src/engine/memory/expiry-wheel.ts";
import { MemoryEngine } from "../../../../src/engine/memory/memory-engine.ts";
import { JSON_CONTENT_TYPE, NEVER } from "../../../../src/model/entry.ts";
import type { Key } from "../../../../src/model/key.ts";
import type { Version } from "../../../../src/model/stamp.ts";
import { keyOf, ManualClock, RecordingSink, stampOf } from "../../../support/engine-io.ts";
import { smallMemory } from "../../../support/small-memory.ts";

/** What a reader may find under a key: made by one mutation, which its revision names. */
export interface Content {
  readonly key: number;
  /** Null = what another mutation of the key made, or a counter: where rivals may come first, it isn't known which. */
  readonly bytes: Buffer | null;
  readonly contentType: string;
  /** Those that it was given: by the mutation, and by touches since. */
  readonly expiries: readonly number[];
}

export interface Shape {
  readonly keys: number;
  readonly shards: number;
  readonly segments: number;
  /** Pages that the index of a shard may have; by default more than it needs. */
  readonly indexPages?: number;
  readonly versioned: boolean;
  /** Values are smaller than this. */
  readonly maxValueBytes: number;
  /** How often each kind of step comes, in this order: put, delete, touch, increment, prune, read, deleteMatching, clear. */
  readonly odds: readonly number[];
  /** The share of entries that expire. */
  readonly expiring: number;
}

const MIXED = [58, 8, 9, 6, 10, 5, 2, 2];
const MOSTLY_PUTS = [80, 3, 4, 4, 3, 5, 0.5, 0.5];
const MANY_CLEARS = [60, 5, 3, 3, 3, 5, 3, 18];
const MOSTLY_DELETES = [30, 55, 4, 4, 3, 3, 0.5, 0.5];

/** Where values are blobs or spill over; where puts evict; where the index and the ghosts grow; where tombstones do. */
export const SHAPES: readonly Shape[] = [
  { keys: 24, shards: 2, segments: 64, versioned: false, maxValueBytes: 2_600, odds: MIXED, expiring: 0.5 },
  { keys: 110, shards: 1, segments: 44, versioned: true, maxValueBytes: 300, odds: MIXED, expiring: 0.5 },
  { keys: 40, shards: 2, segments: 48, versioned: true, maxValueBytes: 1_200, odds: MIXED, expiring: 0.3 },
  {
    keys: 170,
    shards: 1,
    segments: 90,
    versioned: false,
    maxValueBytes: 160,
    odds: MOSTLY_PUTS,
    expiring: 0.1,
  },
  { keys: 120, shards: 2, segments: 14, versioned: false, maxValueBytes: 120, odds: MOSTLY_DELETES, expiring: 0.1 },
  { keys: 30, shards: 2, segments: 40, versioned: true, maxValueBytes: 900, odds: MOSTLY_PUTS, expiring: 0.2 },
  // The index may not grow.
  {
    keys: 90,
    shards: 1,
    segments: 60,
    indexPages: 1,
    versioned: true,
    maxValueBytes: 100,
    odds: MOSTLY_PUTS,
    expiring: 0.1,
  },
  { keys: 16, shards: 2, segments: 40, versioned: false, maxValueBytes: 1_200, odds: MANY_CLEARS, expiring: 0.1 },
];

/** What counters are raised by. */
const DELTA = 12_345;

/** What is done in one step; a walk over all entries is done after some turns. */
type Step = (engine: MemoryEngine) => undefined | Promise<number>;

/**
 * Mutations of a small memory, chosen at random by a seed, and what each of them may leave under which key. Engines hand
 * in themselves, so that several threads' engines can do the steps of one history.
 */
export class History {
  readonly clock = new ManualClock();
  readonly handle: MemoryHandle;
  readonly keys: readonly Key[];
  /** By revision. */
  readonly contents = new Map<number, Content>();
  /** The key of the last step, or -1 if it wasn't about one. */
  lastKey = -1;
  private givenKey = -1;
  private version = 1_000;
  private state: number;

  constructor(
    readonly shape: Shape,
    seed: number,
    private readonly company: "alone" | "with rivals" = "alone",
  ) {
    this.state = Math.imul(seed + 1, 2_654_435_761) >>> 0;
    const { keys, shards, segments, indexPages = 8, versioned } = shape;
    const nowMs = this.clock.nowMs;
    this.handle = smallMemory({ shards, segmentBytes: 512, segments, indexPages, threads: 4, nowMs, versioned });
    this.keys = Array.from({ length: keys }, (_, number) => keyOf(`key:${"x".repeat((number * 5) % 23)}${number}`));
  }

  engine(thread: number, views?: MemoryViews): MemoryEngine {
    const environment = { clock: this.clock.read, letOthersRun: neverLater };
    return MemoryEngine.attach(this.handle, thread, views === undefined ? environment : { ...environment, views });
  }

  random(): number {
    this.state = (Math.imul(this.state, 1_664_525) + 1_013_904_223) >>> 0;
    return this.state / 2 ** 32;
  }

  below(limit: number): number {
    return Math.floor(this.random() * limit);
  }

  /** Whether bytes are what the key could have by the content's account. */
  explains({ key, bytes }: Content, found: Buffer): boolean {
    if (bytes !== null) return bytes.equals(found);
    if (Number(found.toString("latin1")) % DELTA === 0) return true;
    return [...this.contents.values()].some((other) => other.key === key && other.bytes?.equals(found) === true);
  }

  key(number: number): Key {
    const key = this.keys[number];
    if (key === undefined) throw new Error(`no key ${number}`);
    return key;
  }

  /** The next step, of a key where one is given. It does the same whenever it is run on the same memory. */
  next(key = -1): Step {
    const { odds } = this.shape;
    this.lastKey = -1;
    this.givenKey = key;
    // Only the first four are about one key.
    const sum = odds.slice(0, key < 0 ? odds.length : 4).reduce((total, one) => total + one, 0);
    let dice = this.random() * sum;
    let kind = 0;
    for (; dice >= (odds[kind] ?? 0); kind++) dice -= odds[kind] ?? 0;
    return this.step(kind);
  }

  private step(kind: number): Step {
    switch (kind) {
      case 1:
        return this.delete();
      case 2:
        return this.touch();
      case 3:
        return this.increment();
      case 4:
        return this.prune();
      case 5:
        return this.read();
      case 6:
        return this.deleteMatching();
      case 7:
        return this.clear();
      default:
        return this.put();
    }
  }

  /** Gets raise use counts, which decide what eviction keeps. */
  private read(): Step {
    const numbers = Array.from({ length: 12 }, () => this.below(this.shape.keys));
    const sink = new RecordingSink();
    return (engine) => {
      for (const number of numbers) for (let times = 0; times < 3; times++) engine.get(this.key(number), sink);
    };
  }

  private put(): Step {
    const { number, key, stamp } = this.mutation();
    // Now and then empty, or as long as a whole segment holds, or two: nothing of the value stands in the record then.
    const drawn = 24 + this.below(this.random() < 0.5 ? 90 : this.shape.maxValueBytes);
    const full = drawn > 504 && this.random() < 0.3 ? drawn - (drawn % 504) : drawn;
    const length = drawn % 19 === 7 ? 0 : full;
    const bytes = Buffer.alloc(length);
    for (let at = 0; at < length; at++) bytes[at] = (stamp.version * 7 + at * 13 + (at >>> 6)) & 0xff;
    const contentType = number % 4 === 0 ? `text/x-${number}` : JSON_CONTENT_TYPE;
    const expiresAtMs = this.expiry();
    this.contents.set(stamp.version, { key: number, bytes, contentType, expiries: [expiresAtMs] });
    // Not from the buffer's start, as values come out of requests.
    const source = Buffer.concat([Buffer.alloc(3), bytes, Buffer.alloc(2)]);
    const request = {
      key,
      source,
      start: 3,
      end: 3 + length,
      attributes: { contentType },
      expiresAtMs,
      stamp,
      condition: null,
    };
    return (engine) => nothing(engine.put(request));
  }

  private delete(): Step {
    const { key, stamp } = this.mutation();
    const tombstoneUntilMs =
      this.random() < 0.4 ? NEVER : this.clock.nowMs + 1 + this.below(this.random() < 0.5 ? 4 * TICK_MS : 90_000);
    return (engine) => nothing(engine.delete({ key, stamp, condition: null, tombstoneUntilMs }));
  }

  private touch(): Step {
    const { number, key } = this.mutation();
    const expiresAtMs = this.expiry();
    return (engine) => {
      const sink = new RecordingSink();
      const old = engine.peek(key, sink) ? this.contents.get(sink.revision) : undefined;
      // Rivals may have put another meanwhile.
      const seen = { version: sink.revision as Version, nodeId: sink.nodeId };
      if (old?.key === number) this.contents.set(sink.revision, { ...old, expiries: [...old.expiries, expiresAtMs] });
      if (old !== undefined) engine.touch({ key, expiresAtMs, seen, condition: null });
    };
  }

  private increment(): Step {
    const { number, key, stamp } = this.mutation();
    const expiresAtMsIfNew = this.expiry();
    return (engine) => {
      const old = this.found(engine, number);
      if (this.company === "with rivals") this.contents.set(stamp.version, this.unknown(number));
      const outcome = engine.increment({ key, delta: DELTA, expiresAtMsIfNew, stamp, condition: null });
      if (outcome.kind !== "incremented" || this.company === "with rivals") return;
      const expiries = old === undefined ? [expiresAtMsIfNew] : old.expiries;
      const bytes = Buffer.from(String(outcome.value));
      this.contents.set(stamp.version, { key: number, bytes, contentType: JSON_CONTENT_TYPE, expiries });
    };
  }

  private prune(): Step {
    const nowMs = this.clock.nowMs + this.below(3 * TICK_MS);
    return (engine) => {
      this.clock.nowMs = Math.max(this.clock.nowMs, nowMs);
      while (engine.maintain() === 0);
    };
  }

  private deleteMatching(): Step {
    const stamp = stampOf(this.nextVersion());
    const digit = 0x30 + this.below(10);
    const pattern = { text: "*", matches: (bytes: Uint8Array, _: number, end: number) => bytes[end - 1] === digit };
    return (engine) => engine.deleteMatching(pattern, stamp);
  }

  private clear(): Step {
    // One that comes late leaves what is newer.
    const stamp = stampOf(this.nextVersion() - (this.random() < 0.5 ? 41 : 0));
    return (engine) => engine.clear(stamp);
  }

  private mutation() {
    const drawn = Math.floor(this.random() * this.random() * this.shape.keys);
    const number = this.givenKey < 0 ? drawn : this.givenKey;
    this.lastKey = number;
    // A mutation may take the place of a newer copy (node id 0), so that versions of a key would not only grow.
    const late = this.random() < 0.06 && this.company === "alone" ? 31 : 0;
    const stamp = stampOf(this.nextVersion() - late, this.company === "alone" && this.random() < 0.5 ? 0 : 7);
    return { number, key: this.key(number), stamp };
  }

  private nextVersion(): number {
    this.version += 2;
    return this.version;
  }

  private expiry(): number {
    if (this.random() >= this.shape.expiring) return NEVER;
    const dice = this.random();
    // Now and then so far ahead that both words of an expiry change.
    const within = dice < 0.7 ? 6 * TICK_MS : dice < 0.85 ? 90_000_000 : 3 * 2 ** 32;
    return this.clock.nowMs + 1 + this.below(within);
  }

  private unknown(key: number): Content {
    return { key, bytes: null, contentType: "", expiries: [] };
  }

  private found(engine: MemoryEngine, number: number): Content | undefined {
    const sink = new RecordingSink();
    return engine.peek(this.key(number), sink) ? this.contents.get(sink.revision) : undefined;
  }
}

function nothing(_outcome: unknown): undefined {}

/** Walks here are short: what they give back to others is one turn of the microtasks. */
function neverLater(): Promise<void> {
  return Promise.resolve();
}
