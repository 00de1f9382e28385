import { describe, expect, test } from "bun:test";
import { BoundedMap } from "../../src/runtime/bounded-map.ts";

describe("a bounded map", () => {
  test("lets the oldest key go when there is one too many", () => {
    const map = new BoundedMap<string, number>(2);
    map.set("a", 1).set("b", 2).set("c", 3);
    expect([...map]).toEqual([
      ["b", 2],
      ["c", 3],
    ]);
  });

  test("counts a key that is set again as the newest, and keeps the others", () => {
    const map = new BoundedMap<string, number>(2);
    map.set("a", 1).set("b", 2).set("a", 3);
    expect([...map.keys()]).toEqual(["b", "a"]);
    map.set("c", 4);
    expect([...map]).toEqual([
      ["a", 3],
      ["c", 4],
    ]);
  });

  test("has room again when a key was deleted, and holds nothing where nothing is allowed", () => {
    const map = new BoundedMap<string, number>(2);
    map.set("a", 1).set("b", 2).delete("a");
    map.set("c", 3);
    expect([...map.keys()]).toEqual(["b", "c"]);
    expect(new BoundedMap<string, number>(0).set("a", 1).size).toBe(0);
  });

  test("takes any key, undefined too", () => {
    const map = new BoundedMap<string | undefined, number>(1);
    map.set(undefined, 1).set("a", 2);
    expect([...map.keys()]).toEqual(["a"]);
  });
});
