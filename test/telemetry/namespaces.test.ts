import { describe, expect, test } from "bun:test";
import {
  KeyUse,
  MAX_NAME_BYTES,
  makeNamespaces,
  NAMESPACES,
  Namespaces,
  namespaceCounts,
  OTHERS,
} from "../../src/telemetry/namespaces.ts";

const keyOf = (text: string) => ({ bytes: Buffer.from(`${text}:left over`), length: Buffer.byteLength(text) });

function names(shared: ReturnType<typeof makeNamespaces>): string[] {
  return namespaceCounts(shared).map(({ name }) => name);
}

describe("namespaces", () => {
  test("are what stands before the first colon; keys without one share the empty name", () => {
    const shared = makeNamespaces(1);
    const namespaces = new Namespaces(shared, 0);
    const keys = ["user:1", "user:2", "user", "order:1:2", "üser:1", "plain", ":x", "user:1", "users:1", "use:1"];
    for (const key of keys) namespaces.count(keyOf(key), KeyUse.Set);
    expect(namespaceCounts(shared).map(({ name, sets }) => [name, sets])).toEqual([
      ["user", 3],
      ["", 3],
      ["order", 1],
      ["üser", 1],
      ["users", 1],
      ["use", 1],
    ]);
  });

  test("count each use, of all threads together", () => {
    const shared = makeNamespaces(2);
    const [first, second] = [new Namespaces(shared, 0), new Namespaces(shared, 1)];
    second.count(keyOf("b:1"), KeyUse.Hit);
    first.count(keyOf("a:1"), KeyUse.Hit);
    for (const namespaces of [first, second]) {
      for (const use of [KeyUse.Hit, KeyUse.Miss, KeyUse.Set, KeyUse.Delete]) namespaces.count(keyOf("a:1"), use);
    }
    expect(namespaceCounts(shared)).toEqual([
      { name: "b", hits: 1, misses: 0, sets: 0, deletes: 0 },
      { name: "a", hits: 3, misses: 2, sets: 2, deletes: 2 },
    ]);
  });

  test("are bounded in number: what comes later is counted together", () => {
    const shared = makeNamespaces(2);
    const [first, second] = [new Namespaces(shared, 0), new Namespaces(shared, 1)];
    for (let number = 0; number < NAMESPACES + 50; number++) {
      (number % 2 === 0 ? first : second).count(keyOf(`n${number}:x`), KeyUse.Hit);
    }
    expect(names(shared)).toHaveLength(NAMESPACES + 1);
    expect(namespaceCounts(shared).at(-1)).toEqual({ name: OTHERS, hits: 50, misses: 0, sets: 0, deletes: 0 });
    second.count(keyOf("n0:y"), KeyUse.Hit);
    expect(namespaceCounts(shared)[0]).toEqual({ name: "n0", hits: 2, misses: 0, sets: 0, deletes: 0 });
  });

  test("with names that are too long are counted together", () => {
    const shared = makeNamespaces(1);
    const namespaces = new Namespaces(shared, 0);
    const longest = "x".repeat(MAX_NAME_BYTES);
    for (const key of [`${longest}:1`, `${longest}x:1`, longest, `${longest}:2`]) {
      namespaces.count(keyOf(key), KeyUse.Hit);
    }
    expect(namespaceCounts(shared).map(({ name, hits }) => [name, hits])).toEqual([
      [longest, 2],
      ["", 1],
      [OTHERS, 1],
    ]);
  });
});
