import { describe, expect, test } from "bun:test";
import { type Asked, History } from "../support/history.ts";
import { type Rules, STRICT, violationsIn } from "./checker.ts";

const ask = { client: "c", node: "n", key: "k" } as const;

/** A history written as a person would: each operation with its start and its end. */
class Written {
  #nowMs = 0;
  readonly history = new History(() => this.#nowMs);

  add(fromMs: number, toMs: number | "unknown" | "refused", asked: Partial<Asked> & Pick<Asked, "kind" | "value">) {
    this.#nowMs = fromMs;
    const operation = this.history.begin({ ...ask, ...asked });
    if (toMs === "unknown") return operation;
    this.#nowMs = toMs === "refused" ? fromMs + 1 : toMs;
    this.history.end(operation, toMs === "refused" ? "refused" : "ok");
    return operation;
  }

  put(fromMs: number, toMs: number | "unknown" | "refused", value: number, more: Partial<Asked> = {}) {
    return this.add(fromMs, toMs, { kind: "put", value, ...more });
  }

  delete(fromMs: number, toMs: number | "unknown" | "refused", more: Partial<Asked> = {}) {
    return this.add(fromMs, toMs, { kind: "delete", value: null, ...more });
  }

  get(fromMs: number, toMs: number, value: number | null, more: Partial<Asked> = {}) {
    return this.add(fromMs, toMs, { kind: "get", value, ...more });
  }

  kinds(rules: Rules = STRICT): string[] {
    return violationsIn(this.history.operations, rules).map(({ kind }) => kind);
  }
}

describe("a history is accepted in which", () => {
  test("reads see the newest write, or one that runs beside them", () => {
    const written = new Written();
    written.put(0, 10, 1);
    written.put(20, 30, 2);
    written.get(11, 12, 1);
    written.get(21, 22, 2);
    written.get(23, 24, 2);
    written.get(40, 41, 2);
    expect(written.kinds()).toEqual([]);
  });

  test("two writes at once end in either", () => {
    for (const last of [1, 2]) {
      const written = new Written();
      written.put(0, 10, 1);
      written.put(5, 15, 2);
      written.get(20, 21, last);
      expect(written.kinds()).toEqual([]);
    }
  });

  test("a write without an answer appears late, or never", () => {
    const written = new Written();
    written.put(0, 10, 1);
    written.put(20, "unknown", 2);
    written.get(30, 31, 1);
    written.get(40, 41, 2);
    expect(written.kinds()).toEqual([]);
  });

  test("nothing is found after a delete, one without an answer, or one that may miss", () => {
    for (const end of [15, "unknown"] as const) {
      for (const mayMiss of [true, false]) {
        const written = new Written();
        written.put(0, 10, 1);
        written.delete(11, end, { mayMiss });
        written.get(20, 21, null);
        expect(written.kinds()).toEqual([]);
      }
    }
  });

  test("a delete that may miss has missed", () => {
    const written = new Written();
    written.put(0, 10, 1);
    written.delete(11, 12, { mayMiss: true });
    written.get(20, 21, 1);
    expect(written.kinds()).toEqual([]);
  });

  test("a stale answer says that it is stale", () => {
    const written = new Written();
    written.put(0, 10, 1);
    written.put(20, 30, 2);
    written.get(40, 41, 1).isStale = true;
    expect(written.kinds()).toEqual([]);
  });

  test("another node follows within its lag", () => {
    const written = new Written();
    const rules: Rules = { ...STRICT, lagMs: (read, newer) => (read.node === newer.node ? 0 : 20) };
    written.put(0, 10, 1);
    written.put(20, 30, 2);
    written.get(40, 41, 1, { node: "m" });
    expect(written.kinds(rules)).toEqual([]);
    written.get(51, 52, 1, { node: "m" });
    expect(written.kinds(rules)).toEqual(["stale"]);
  });

  test("another node shows a write before its own node does", () => {
    const written = new Written();
    const rules: Rules = { ...STRICT, shows: (read, { node }) => read.node === node };
    written.put(0, 10, 1);
    written.put(20, 60, 2);
    written.get(30, 31, 2, { node: "m" });
    written.get(40, 41, 1);
    expect(written.kinds(rules)).toEqual([]);
    expect(written.kinds()).toEqual(["stale"]);
  });

  test("what was written in a failover is gone, or there", () => {
    for (const found of [1, 2, null]) {
      const written = new Written();
      written.put(0, 10, 1);
      written.put(20, 30, 2);
      written.get(31, 32, 2);
      written.history.doubt(found === null ? 0 : 15, 35);
      written.get(40, 41, found);
      expect(written.kinds()).toEqual([]);
    }
  });
});

describe("a history is rejected in which a read gives", () => {
  test("a value that was replaced before it began", () => {
    const written = new Written();
    written.put(0, 10, 1);
    written.put(20, 30, 2);
    written.get(31, 32, 1);
    expect(written.kinds()).toEqual(["stale"]);
  });

  test("an older value after a newer one, whose write has no answer, was seen", () => {
    const written = new Written();
    written.put(0, 10, 1);
    written.put(20, "unknown", 2);
    written.get(30, 31, 2);
    written.get(32, 33, 1);
    expect(written.kinds()).toEqual(["stale"]);
  });

  test("a value again that a later write had replaced, though its own write has no answer", () => {
    const written = new Written();
    written.put(0, "unknown", 1);
    written.get(5, 6, 1);
    written.put(10, 20, 2);
    written.get(30, 31, 1);
    expect(written.kinds()).toEqual(["stale"]);
  });

  test("a value that was deleted before it began", () => {
    const written = new Written();
    written.put(0, 10, 1);
    written.delete(11, 12);
    written.get(13, 14, 1);
    expect(written.kinds()).toEqual(["resurrected"]);
  });

  test("nothing, where a write stands that no delete follows", () => {
    const written = new Written();
    written.delete(0, 5);
    written.put(6, 10, 1);
    written.get(11, 12, null);
    expect(written.kinds()).toEqual(["lost"]);
  });

  test("a value that nobody wrote, that was refused, or that was written later", () => {
    const written = new Written();
    written.put(0, "refused", 1);
    written.get(10, 11, 1);
    written.get(10, 11, 7);
    written.get(12, 13, 3);
    written.put(20, 21, 3);
    expect(written.kinds()).toEqual(["refused-but-visible", "unknown", "from-the-future"]);
  });
});

test("a miss is lost only where the rules say that it can't be", () => {
  const written = new Written();
  written.put(0, 10, 1, { node: "a" });
  written.get(20, 21, null, { node: "b" });
  const evicts: Rules = { ...STRICT, allowsMiss: (read, put) => read.node === "b" && put.node === "a" };
  expect(written.kinds(evicts)).toEqual([]);
  expect(written.kinds()).toEqual(["lost"]);
});
