import { expect, test } from "bun:test";
import { toVersion } from "../../src/model/stamp.ts";
import { RecentTouches, type Touch } from "../../src/replication/recent-touches.ts";

const stamp = (version: number) => ({ version: toVersion(version), nodeId: 1 });
const touch = (seen: number, version: number): Touch => ({
  ...{ seen: stamp(seen), stamp: stamp(version), expiresAtMs: version },
});

test("of two touches of a put the newer counts, in whichever order they come", () => {
  for (const order of [
    [5, 6],
    [6, 5],
  ]) {
    const touches = new RecentTouches();
    expect(order.map((version) => touches.note("k", touch(1, version)))).toEqual([true, order[0] === 5]);
    expect(touches.of("k", stamp(1))?.expiresAtMs).toBe(6);
  }
});

test("a touch of an older put, however late, does not hide that of a newer one", () => {
  const touches = new RecentTouches();
  touches.note("k", touch(3, 5));
  expect(touches.note("k", touch(1, 9))).toBe(false);
  expect([touches.of("k", stamp(3))?.expiresAtMs, touches.of("k", stamp(1))]).toEqual([5, null]);
  expect(touches.note("k", touch(4, 2))).toBe(true);
  expect([touches.of("k", stamp(4))?.expiresAtMs, touches.of("k", stamp(3))]).toEqual([2, null]);
});

test("beyond the bound the keys that were touched longest ago are forgotten", () => {
  const touches = new RecentTouches(2);
  for (const key of ["a", "b"]) touches.note(key, touch(1, 2));
  touches.note("a", touch(1, 3));
  touches.note("c", touch(1, 2));
  expect(["a", "b", "c"].map((key) => touches.of(key, stamp(1)) !== null)).toEqual([true, false, true]);
});
