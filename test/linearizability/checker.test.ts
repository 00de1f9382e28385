/** The checker itself: histories that it must take, and those that it must reject. */
import { describe, expect, test } from "bun:test";
import { printedSeed, randomOf } from "../support/random.ts";
import { isLinearizable, violations } from "./checker.ts";
import type { Call, Operation } from "./register.ts";

const FIRM = { evicts: false };

function done(startMs: number, endMs: number, call: Call): Operation {
  return { key: "k", client: `${startMs}`, call, startMs, endMs, outcome: "done" };
}

function unknown(startMs: number, endMs: number, call: Call): Operation {
  return { ...done(startMs, endMs, call), outcome: "unknown" };
}

const put = (value: string, ttlMs: number | null = null): Call => ({ kind: "put", value, ttlMs });
const add = (value: string): Call => ({ kind: "add", value, ttlMs: null });
const get = (value: string | null): Call => ({ kind: "get", value });
const remove: Call = { kind: "delete" };
const clear: Call = { kind: "clear" };

describe("a history is rejected", () => {
  test.each<[string, Operation[]]>([
    [
      "where a read is older than a write that was done",
      [done(0, 1, put("a")), done(2, 3, put("b")), done(4, 5, get("a"))],
    ],
    ["where a write is lost", [done(0, 1, put("a")), done(2, 3, get(null))]],
    ["where what nobody wrote is read", [done(0, 1, get("a"))]],
    ["where a value comes before its write", [done(0, 1, get("a")), done(2, 3, put("a"))]],
    ["where a deleted value comes back", [done(0, 1, put("a")), done(2, 3, remove), done(4, 5, get("a"))]],
    [
      "where a cleared value is gone and comes back",
      [...[done(0, 1, put("a")), done(2, 3, clear), done(4, 5, get(null)), done(6, 7, get("a"))]],
    ],
    [
      "where two reads see two writes in opposite orders",
      [...[done(0, 10, put("a")), done(0, 10, put("b"))], ...[done(11, 12, get("a")), done(13, 14, get("b"))]],
    ],
    [
      "where a newer value was seen while its write was under way, and then an older one",
      [...[done(0, 1, put("a")), done(2, 9, put("b")), done(3, 4, get("b")), done(5, 6, get("a"))]],
    ],
    [
      "where a write of unknown outcome is seen and then gone",
      [...[done(0, 1, put("a")), unknown(2, 3, put("b")), done(4, 5, get("b")), done(6, 7, get("a"))]],
    ],
    [
      "where a seen write overwrites a later one of the client that saw it",
      [...[done(0, 9, put("a")), done(1, 2, get("a")), done(3, 4, put("b")), done(10, 11, get("a"))]],
    ],
    ["where an expired value is read", [done(0, 1, put("a", 10)), done(12, 13, get("a"))]],
    ["where a value is gone before its time", [done(0, 1, put("a", 10)), done(2, 3, get(null))]],
    ["where two adds are both done", [done(0, 5, add("a")), done(0, 5, add("b"))]],
  ])("%s", (_, history) => {
    expect(isLinearizable(history, FIRM)).toBe(false);
    expect(violations(history, FIRM)).toHaveLength(1);
  });
});

describe("a history is taken", () => {
  test.each<[string, Operation[]]>([
    [
      "where a read during a write sees either",
      [...[done(0, 1, put("a")), done(2, 9, put("b")), done(3, 4, get("a")), done(5, 6, get("b"))]],
    ],
    [
      "where a write of unknown outcome happens late",
      [...[done(0, 1, put("a")), unknown(2, 3, put("b")), done(4, 5, get("a")), done(6, 7, get("b"))]],
    ],
    [
      "where a write of unknown outcome never happens",
      [...[done(0, 1, put("a")), unknown(2, 3, put("b")), unknown(2, 3, remove), done(9, 10, get("a"))]],
    ],
    [
      "where a clear reached the entry, and where it did not",
      [...[done(0, 1, put("a")), done(2, 3, clear), done(4, 5, get("a")), done(6, 7, clear), done(8, 9, get(null))]],
    ],
    [
      "where a value is read up to its end, and not after",
      [...[done(0, 1, put("a", 10)), done(10, 11, get("a")), done(12, 13, get(null))]],
    ],
    ["where calls have the same time", [done(0, 1, put("a")), done(1, 2, get(null))]],
  ])("%s", (_, history) => {
    expect(isLinearizable(history, FIRM)).toBe(true);
  });
});

test("what may be evicted is gone for good when it was found gone", () => {
  const gone = [done(0, 1, put("a")), done(2, 3, get(null))];
  expect(isLinearizable(gone, { evicts: true })).toBe(true);
  expect(isLinearizable([...gone, done(4, 5, get("a"))], { evicts: true })).toBe(false);
});

test("the calls that are shown end with the one that fits nowhere", () => {
  const history = [done(0, 1, put("a")), done(2, 3, put("b")), done(4, 5, get("a")), done(6, 7, put("c"))];
  expect(violations(history, FIRM)[0]?.calls.map(({ call }) => call)).toEqual([put("a"), put("b"), get("a")]);
});

/** Calls of a register that is one, each done at a moment between its start and its end. */
function trueHistory(random: () => number, count: number): Operation[] {
  const moments = Array.from({ length: count }, (_, at) => ({ at, ms: random() * count })).sort((a, b) => a.ms - b.ms);
  let stored: string | null = null;
  return moments.map(({ at, ms }) => {
    const [startMs, endMs] = [ms - random() * 3, ms + random() * 3];
    const what = random();
    let call: Call = get(stored);
    if (what < 0.4) call = put(`${at}`);
    else if (what < 0.5) call = remove;
    if (call.kind !== "get") stored = call.kind === "put" ? call.value : null;
    return random() < 0.1 && call.kind !== "get" ? unknown(startMs, endMs, call) : done(startMs, endMs, call);
  });
}

test("histories of a true register are taken, and those with one read changed to a value of long ago are not", () => {
  const random = randomOf(printedSeed("histories"));
  for (let run = 0; run < 20; run++) {
    const history = trueHistory(random, 200);
    expect(isLinearizable(history, FIRM)).toBe(true);
    const old = history.find(({ call, outcome }) => call.kind === "put" && outcome === "done");
    const late = history.findLastIndex(({ call }) => call.kind === "get");
    if (old?.call.kind !== "put") throw new Error("a history without a put");
    const changed = history.map((operation, at) => {
      return at === late && old.call.kind === "put" ? { ...operation, call: get(old.call.value) } : operation;
    });
    expect(isLinearizable(changed, FIRM)).toBe(false);
  }
});

test("a long history takes time in proportion", () => {
  const history = trueHistory(randomOf(7), 50_000);
  expect(isLinearizable(history, FIRM)).toBe(true);
});
