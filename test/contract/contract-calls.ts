import { expect } from "bun:test";
import type { Condition, Engine } from "../../src/engine/engine.ts";
import { JSON_CONTENT_TYPE, NEVER } from "../../src/model/entry.ts";
import type { Stamp, Version } from "../../src/model/stamp.ts";
import { CollectingSink, keyOf } from "../support/collecting-sink.ts";
import { globPattern } from "../support/glob-pattern.ts";

/** What the suite needs of an engine under test. */
export interface EngineFixture {
  readonly engine: Engine;
  /** The engine's idea of now, in ms since the Unix epoch. */
  nowMs(): number;
  /** Lets so much time pass for the engine. */
  advanceMs(ms: number): void | Promise<void>;
  /** Whether the engine keeps versions: else every mutation is taken in the order of arrival. */
  readonly versioned: boolean;
  /** How much later than asked an entry may end: 0 for a clock that the suite holds. */
  readonly expiryToleranceMs: number;
  close(): Promise<void>;
}

export interface EngineUnderTest {
  readonly name: string;
  create(): Promise<EngineFixture>;
}

interface PutOptions {
  contentType?: string;
  ttlMs?: number;
  stamp?: Stamp;
  condition?: Condition | null;
}

/** The engine's calls with plain arguments, for the parts of the contract suite. */
export class ContractCalls {
  #fixture: EngineFixture | null = null;
  #clock = 1_000_000;

  use(fixture: EngineFixture): void {
    this.#fixture = fixture;
  }

  get fixture(): EngineFixture {
    if (this.#fixture === null) throw new Error("the engine is not made yet");
    return this.#fixture;
  }

  get engine(): Engine {
    return this.fixture.engine;
  }

  /** Strictly increasing versions; `back` gives one that is older than the newest by so many. */
  readonly stamp = (back = 0, nodeId = 0): Stamp => ({ version: (this.#clock++ - back) as Version, nodeId });
  readonly reserve = (count: number): void => {
    this.#clock += count;
  };

  readonly put = async (key: string, value: string | Buffer, options: PutOptions = {}) => {
    const bytes = Buffer.from(value);
    const source = Buffer.concat([Buffer.from("<<"), bytes, Buffer.from(">>")]);
    const reusedKey = keyOf(key);
    const outcome = this.engine.put({
      key: reusedKey,
      source,
      start: 2,
      end: 2 + bytes.length,
      attributes: { contentType: options.contentType ?? JSON_CONTENT_TYPE },
      expiresAtMs: options.ttlMs === undefined ? NEVER : this.fixture.nowMs() + options.ttlMs,
      stamp: options.stamp ?? this.stamp(),
      condition: options.condition ?? null,
    });
    // The caller reuses its buffers as soon as the call has returned.
    source.fill(0);
    reusedKey.bytes.fill(0);
    return await outcome;
  };
  readonly find = async (key: string) => {
    const sink = new CollectingSink();
    return (await this.engine.get(keyOf(key), sink)) ? { info: infoOf(sink), bytes: sink.bytes } : null;
  };
  readonly textOf = async (key: string) => (await this.find(key))?.bytes.toString() ?? null;
  readonly tagOf = async (key: string) => infoOf(await this.found(key)).revision;
  readonly found = async (key: string) => {
    const sink = new CollectingSink();
    expect(await this.engine.get(keyOf(key), sink)).toBe(true);
    return sink;
  };
  readonly remove = async (
    key: string,
    condition: Condition | null = null,
    of = this.stamp(),
    tombstoneUntilMs = NEVER,
  ) => await this.engine.delete({ key: keyOf(key), stamp: of, condition, tombstoneUntilMs });
  readonly touch = async (
    key: string,
    ttlMs: number | null,
    condition: Condition | null = null,
    seen: Stamp | null = null,
  ) => {
    const expiresAtMs = ttlMs === null ? NEVER : this.fixture.nowMs() + ttlMs;
    return await this.engine.touch({ key: keyOf(key), expiresAtMs, seen, condition });
  };
  readonly increment = async (
    key: string,
    delta: number,
    ttlMs: number | null = null,
    condition: Condition | null = null,
  ) =>
    await this.engine.increment({
      key: keyOf(key),
      delta,
      expiresAtMsIfNew: ttlMs === null ? NEVER : this.fixture.nowMs() + ttlMs,
      stamp: this.stamp(),
      condition,
    });
  readonly listAll = async (pattern: string | null = null, limit = 100) => {
    const keys: string[] = [];
    let cursor: string | null = null;
    do {
      const page = await this.engine.scan({ pattern: pattern === null ? null : globPattern(pattern), cursor, limit });
      expect(page.keys.length).toBeLessThanOrEqual(limit);
      keys.push(...page.keys);
      cursor = page.cursor;
    } while (cursor !== null);
    return keys;
  };
}

function infoOf(sink: CollectingSink) {
  if (sink.info === null) throw new Error("the sink got no entry");
  return sink.info;
}
