import { describe, expect, test } from "bun:test";
import { HotKeys, hottestKeys, makeHotKeys } from "../../src/telemetry/hot-keys.ts";

const keyOf = (text: string) => ({ bytes: Buffer.from(text), length: Buffer.byteLength(text) });

/** A small generator of numbers in [0, 1), the same in each run. */
function repeatable(): () => number {
  let state = 1;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

describe("hot keys", () => {
  test("are found among many cold ones, with about their share of the reads", () => {
    const shared = makeHotKeys(2);
    const random = repeatable();
    const threads = [new HotKeys(shared, 0, random), new HotKeys(shared, 1, random)];
    for (let number = 0; number < 800_000; number++) {
      const dice = random();
      const key = dice < 0.2 ? "hottest" : dice < 0.3 ? "hot" : `cold:${Math.floor(random() * 100_000)}`;
      threads[number % 2]?.read(keyOf(key), key.length);
    }
    const [first, second] = hottestKeys(shared, 2);
    expect([first?.key, second?.key]).toEqual(["hottest", "hot"]);
    expect(first?.share).toBeWithin(0.18, 0.22);
    expect(second?.share).toBeWithin(0.085, 0.125);
    expect(first?.reads).toBeWithin(144_000, 176_000);
    expect(first?.valueBytes).toBe("hottest".length);
  });

  test("forget what was hot long ago", () => {
    const shared = makeHotKeys(1);
    const hotKeys = new HotKeys(shared, 0, () => 0);
    for (let number = 0; number < 50_000; number++) hotKeys.read(keyOf("before"), 1);
    for (let number = 0; number < 100_000; number++) hotKeys.read(keyOf("now"), 1);
    const [first] = hottestKeys(shared, 2);
    expect(first?.key).toBe("now");
    expect(first?.share).toBeGreaterThan(0.6);
  });

  test("are bounded in memory, and tell which were not there", () => {
    const shared = makeHotKeys(1);
    const hotKeys = new HotKeys(shared, 0, () => 0);
    for (let number = 0; number < 64; number++) hotKeys.read(keyOf(`key:${number}`), -1);
    const found = hottestKeys(shared, 1_000);
    expect(found.length).toBe(64);
    expect(found[0]?.valueBytes).toBeNull();
  });

  test("leave out what its own error outweighs", () => {
    const shared = makeHotKeys(1);
    const hotKeys = new HotKeys(shared, 0, () => 0);
    for (let number = 0; number < 20_000; number++) {
      hotKeys.read(keyOf(`key:${number}`), 1);
      if (number % 10 === 0) hotKeys.read(keyOf("hot"), 1);
    }
    expect(hottestKeys(shared, 1_000).map(({ key }) => key)).toEqual(["hot"]);
  });

  test("of nobody are none", () => {
    expect(hottestKeys(makeHotKeys(2), 10)).toEqual([]);
  });
});
