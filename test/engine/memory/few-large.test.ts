import { describe, expect, test } from "bun:test";
import { lru } from "../../../bench/simulators/lru.ts";
import { NEVER } from "../../../src/model/entry.ts";
import { CollectingSink } from "../../support/collecting-sink.ts";
import { checkInvariants } from "../../support/engine-invariants.ts";
import { keyOf, smallEngine, stampOf } from "../../support/engine-io.ts";

const MIB = 1024 * 1024;
const LIMIT_BYTES = 64 * MIB;

/** A memory of 32 shards, in which so many entries of 1 or 2 MiB have room as there are shards, or twice as many. */
function house(valueBytes: number) {
  const engine = smallEngine(LIMIT_BYTES);
  const source = Buffer.alloc(valueBytes, 7);
  const sink = new CollectingSink();
  let version = 0;
  const put = (number: number) =>
    engine.put({
      key: keyOf(`key:${number}`),
      source,
      start: 0,
      end: source.length,
      attributes: { contentType: "text/plain" },
      expiresAtMs: NEVER,
      stamp: stampOf(++version),
      condition: null,
    });
  const get = (number: number) => engine.get(keyOf(`key:${number}`), sink);
  const has = (number: number) => engine.peek(keyOf(`key:${number}`), sink);
  return { engine, put, get, has };
}

/** Keys of which the n-th is asked for in proportion to 1/n, from a fixed seed. */
function skewed(count: number, distinct: number): Int32Array {
  const below: number[] = [];
  let sum = 0;
  for (let rank = 1; rank <= distinct; rank++) {
    sum += 1 / rank;
    below.push(sum);
  }
  let random = 20_240_203;
  return Int32Array.from({ length: count }, () => {
    random = (Math.imul(random, 1_664_525) + 1_013_904_223) >>> 0;
    return below.findIndex((bound) => bound > (random / 2 ** 32) * sum);
  });
}

describe.each([[1], [2]])("entries of %d MiB, one or two to a shard", (mib) => {
  test("leave in the order in which they came, whatever their shards, where none is used", () => {
    const { engine, put, has } = house(mib * MIB);
    const inside: number[] = [];
    const places: number[] = [];
    for (let number = 0; number < 150; number++) {
      expect(put(number)).toBe("stored");
      inside.push(number);
      while (inside.some((one) => !has(one))) {
        const place = inside.findIndex((one) => !has(one));
        places.push(place);
        inside.splice(place, 1);
      }
    }
    expect(places.length).toBeGreaterThan(80);
    expect(places.filter((place) => place > 0)).toEqual([]);
    checkInvariants(engine.handle);
  }, 300_000);

  test("stay where they are used again, while others pass that are not", () => {
    const { put, get, has } = house(mib * MIB);
    const used = [0, 1, 2, 3, 4, 5];
    for (const number of used) put(number);
    for (let number = 100; number < 300; number++) {
      put(number);
      for (const one of used) get(one);
    }
    expect(used.filter((number) => has(number))).toEqual(used);
  }, 300_000);

  test("are hit more often than LRU would have it", () => {
    const { engine, put, get } = house(mib * MIB);
    const requests = { keys: skewed(4_000, 300), distinct: 300 };
    const reference = lru(LIMIT_BYTES / (mib * MIB), requests);
    const hits = { engine: 0, lru: 0 };
    for (const key of requests.keys) {
      if (reference.request(key)) hits.lru++;
      if (get(key)) hits.engine++;
      else put(key);
    }
    expect(hits.engine).toBeGreaterThan(hits.lru);
    checkInvariants(engine.handle);
  }, 300_000);
});
