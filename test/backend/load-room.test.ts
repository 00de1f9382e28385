import { expect, test } from "bun:test";
import type { LoadResult } from "../../src/backend/backend.ts";
import { LoadRoom } from "../../src/backend/load-room.ts";
import { MAX_VALUE_BYTES } from "../../src/model/entry.ts";
import { ByteBudget } from "../../src/runtime/byte-budget.ts";

const MIB = 1024 ** 2;
const found = (bytes: number): LoadResult => ({
  kind: "found",
  value: { bytes: Buffer.alloc(bytes), contentType: "application/octet-stream" },
});

test("the first loads are few where there is little room, as if their values were large", () => {
  const budget = ByteBudget.create(20 * MIB);
  const room = new LoadRoom(budget, () => {});
  expect(room.keysPerCall).toBe(1);
  expect(room.take(1)).toBe((3 * MAX_VALUE_BYTES) / 4);
  expect(room.take(1)).toBeNull();
  expect(budget.usedBytes).toBe((3 * MAX_VALUE_BYTES) / 4);
});

test("small values make room for more, and one that is large takes it away at once", () => {
  const budget = ByteBudget.create(64 * MIB);
  const room = new LoadRoom(budget, () => {});
  for (let load = 0; load < 20; load++) room.learn([found(100)]);
  expect(room.keysPerCall).toBeGreaterThan(1000);
  expect(room.take(100)).not.toBeNull();
  room.learn([found(100), found(8 * MIB), { kind: "absent" }]);
  expect(room.keysPerCall).toBe(1);
});

test("a call never waits where nothing else was loaded, and all is given back", () => {
  const budget = ByteBudget.create(MIB);
  const room = new LoadRoom(budget, () => {});
  const bytes = room.take(1) ?? 0;
  expect(bytes).toBeGreaterThan(MIB);
  room.giveBack(bytes);
  expect(budget.usedBytes).toBe(0);
});

test("garbage is collected after each 16 MiB that were loaded and handed on", () => {
  let collections = 0;
  const room = new LoadRoom(ByteBudget.create(64 * MIB), () => collections++);
  for (let load = 1; load <= 6; load++) {
    room.learn([found(4 * MIB)]);
    room.giveBack(0);
    expect(collections).toBe(Math.floor(load / 4));
  }
});
