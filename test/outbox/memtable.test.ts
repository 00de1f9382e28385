import { beforeEach, describe, expect, test } from "bun:test";
import fc from "fast-check";
import { Memtable } from "../../src/outbox/memtable.ts";
import { put } from "../support/test-outbox.ts";

const COST = 10;
let table: Memtable;
beforeEach(() => {
  table = new Memtable();
});

/** Queues `key@version` in a group of the journal, in the place of what waits of its key. */
function add(group: ReturnType<Memtable["begin"]>, key: string, version: number, nowMs = group.atMs): void {
  table.add(put(key, "v", version), COST, group, nowMs, table.find("backend", key));
}

const shownRows = () =>
  [...table.rows("backend")].map(({ key, mutation, queuedAtMs }) => `${key}@${mutation.stamp.version} ${queuedAtMs}`);
const journaled = () => [...table.journaled()].map(({ key, mutation }) => `${key}@${mutation.stamp.version}`);

function rowOf(key: string) {
  const row = table.find("backend", key);
  if (row === null) throw new Error(`${key} is not here`);
  return row;
}

describe("what waits", () => {
  test("comes in the order in which its keys were queued, a newer one at the place and with the age of the older", () => {
    const first = table.begin(1, 100);
    add(first, "a", 1);
    add(first, "b", 2);
    add(table.begin(2, 200), "a", 3);
    expect(shownRows()).toEqual(["a@3 100", "b@2 100"]);
    expect([table.size, table.bytes, table.count("backend"), table.count("nobody")]).toEqual([2, 2 * COST, 2, 0]);
  });

  test("comes from the journal in the order in which that holds it", () => {
    const first = table.begin(1, 100);
    add(first, "a", 1);
    add(first, "b", 2);
    const second = table.begin(2, 200);
    add(second, "c", 3);
    add(second, "a", 4);
    expect(journaled()).toEqual(["b@2", "c@3", "a@4"]);
    table.renew(rowOf("b"), table.begin(3, 300));
    expect([journaled(), shownRows()[1]]).toEqual([["c@3", "a@4", "b@2"], "b@2 100"]);
  });

  test("goes when it is removed", () => {
    const group = table.begin(1, 100);
    add(group, "a", 5);
    table.remove(rowOf("a"));
    expect([table.size, table.bytes, table.find("backend", "a")]).toEqual([0, 0, null]);
  });
});

describe("the beginning of the journal that is done", () => {
  test("ends before the first group of which something waits", () => {
    const [first, second, third] = [1, 2, 3].map((id) => table.begin(id, 100 * id));
    if (first === undefined || second === undefined || third === undefined) throw new Error("three groups were begun");
    add(first, "a", 1);
    add(second, "b", 2);
    add(third, "c", 3);
    expect(table.doneUpTo()).toBe(0);
    table.remove(rowOf("b"));
    expect(table.doneUpTo()).toBe(0);
    table.remove(rowOf("a"));
    expect(table.doneUpTo()).toBe(2);
    table.renew(rowOf("c"), table.begin(4, 400));
    expect(table.doneUpTo()).toBe(3);
  });

  test("is forgotten when it is durable, and the mutations of a group that is empty, too", () => {
    const first = table.begin(1, 100);
    add(first, "a", 1);
    const second = table.begin(2, 200);
    add(second, "b", 2);
    table.keep();
    table.remove(rowOf("b"));
    expect(second.rows.length).toBe(1);
    table.keep();
    expect(second.rows.length).toBe(0);
    expect(first.rows.length).toBe(1);
  });
});

test("whatever was changed since the last call of keep, undo takes back", () => {
  const change = fc.record({ kind: fc.constantFrom("add", "remove", "renew"), key: fc.nat(4) });
  fc.assert(
    fc.property(fc.array(change, { maxLength: 30 }), fc.array(change, { maxLength: 30 }), (kept, undone) => {
      table = new Memtable();
      let id = 0;
      const change = (changes: typeof kept) => {
        for (const { kind, key } of changes) {
          const group = table.begin(++id, id * 10);
          const row = table.find("backend", `k${key}`);
          if (kind === "add") add(group, `k${key}`, id);
          else if (row !== null && kind === "remove") table.remove(row);
          else if (row !== null) table.renew(row, group);
        }
      };
      const state = () => ({
        // A key that went and came back has another place in its queue.
        rows: shownRows().sort(),
        journaled: journaled(),
        counts: [table.size, table.bytes, table.count("backend"), table.doneUpTo()],
      });
      change(kept);
      table.keep();
      const before = state();
      change(undone);
      table.undo();
      expect(state()).toEqual(before);
    }),
  );
});
