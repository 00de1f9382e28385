import { expect, test } from "bun:test";
import { RedisConfigError } from "../../../src/engine/redis/errors.ts";
import { Names } from "../../../src/engine/redis/names.ts";
import { makeSlotTags, slotOf } from "../../../src/engine/redis/slots.ts";
import { keyOf } from "../../support/collecting-sink.ts";

test.each([
  ["123456789", 12739],
  ["foo", 12182],
  ["{foo}bar", 12182],
  ["x{foo}{bar}", 12182],
  ["", 0],
])("the slot of %j is %d, as the cluster specification says", (name, slot) => {
  expect(slotOf(name)).toBe(slot);
});

test("braces without anything between them are no hash tag", () => {
  expect(slotOf("{}foo")).not.toBe(slotOf("{}bar"));
  expect(slotOf("a{b")).not.toBe(slotOf("b"));
});

test("there is a tag for every slot", () => {
  makeSlotTags().forEach((tag, slot) => {
    if (slotOf(`{${tag}}`) !== slot) throw new Error(`slot ${slot} has the tag ${tag}`);
  });
});

test.each(["", "p:", "{app}:"])("helpers under the prefix %j are on the slot of their entry", (prefix) => {
  const names = new Names(prefix, () => true);
  for (const key of ["k", "{t}x", "a}b", "{}z", "x{y", "ü🙂", "}{"]) {
    const name = names.ofEntry(keyOf(key));
    expect(slotOf(names.tombstoneOf(name))).toBe(slotOf(name));
    expect(slotOf(names.floorOf(name))).toBe(slotOf(name));
  }
  expect(new Set(names.allFloors().map(slotOf)).size).toBe(prefix === "{app}:" ? 1 : 16384);
});

test.each(["a{b", "a}b", "{}x", "}{", "{a}{b}", "a\u0001"])("the prefix %j is refused", (prefix) => {
  expect(() => new Names(prefix, () => true)).toThrow(RedisConfigError);
});
