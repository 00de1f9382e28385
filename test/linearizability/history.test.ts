import { beforeEach, expect, test } from "bun:test";
import { History } from "../support/history.ts";
import { violations } from "./checker.ts";
import { registerOperations, shownViolation } from "./history.ts";

const of = { client: "c", node: "n", key: "k" } as const;
const FIRM = { evicts: false };

let nowMs: number;
let history: History;
beforeEach(() => {
  nowMs = 0;
  history = new History(() => nowMs++);
});

function read(value: number | null): void {
  const operation = history.begin({ ...of, kind: "get", value });
  history.end(operation, "ok");
}

function write(outcome: "ok" | "refused" | "unknown"): number {
  const value = history.nextValue();
  const operation = history.begin({ ...of, kind: "put", value });
  if (outcome === "unknown") history.unknown(operation, "no answer");
  else history.end(operation, outcome);
  return value;
}

const wrong = () => violations(registerOperations(history.operations), FIRM);

test("of a recorded history, writes that were done and those that may be are judged, and reads that were answered", () => {
  read(write("ok"));
  const maybe = write("unknown");
  history.begin({ ...of, kind: "get", value: null });
  write("refused");
  read(maybe);
  history.end(history.begin({ ...of, kind: "delete", value: null }), "ok");
  read(null);
  expect(wrong()).toEqual([]);
  expect(registerOperations(history.operations).map(({ call, outcome }) => `${call.kind} ${outcome}`)).toEqual([
    ...["put done", "get done", "put unknown", "get done", "delete done", "get done"],
  ]);
  expect([...history.reasons]).toEqual([["no answer", 1]]);
});

test("what was refused and is read all the same is a violation, and so is what was lost", () => {
  read(write("refused"));
  expect(wrong().length).toBe(1);
  write("ok");
  read(null);
  const [violation] = wrong();
  expect(violation === undefined ? "" : shownViolation(violation)).toContain("client c: get 1 from");
});

test("a write of unknown outcome is shown to happen whenever, or never", () => {
  write("unknown");
  read(99);
  const [violation] = wrong();
  expect(violation === undefined ? "" : shownViolation(violation)).toContain("to whenever, or never");
});
