import { describe, expect, test } from "bun:test";
import { type BackendSigns, backendProblem } from "../../src/backend/backend-health.ts";

const WELL: BackendSigns = {
  unreachable: "",
  told: "",
  loads: { breaker: "closed", lastFailure: null },
  writes: { lastError: "" },
  pending: 0,
  dead: 0,
  nowMs: 1_000_000,
};
const failed = (atMs: number) => ({ message: "refused", atMs });

describe("what is said of a database", () => {
  test.each<[string, Partial<BackendSigns>, string]>([
    ["all is well", {}, ""],
    ["it can't be reached at the start", { unreachable: "no such host" }, "no such host"],
    [
      "a load failed a moment ago",
      { loads: { breaker: "closed", lastFailure: failed(999_000) } },
      "the last load failed: refused",
    ],
    ["a load failed long ago", { loads: { breaker: "closed", lastFailure: failed(900_000) } }, ""],
    [
      "loads fail all the time",
      { loads: { breaker: "half-open", lastFailure: failed(900_000) } },
      "loads failed repeatedly, the database is asked again from time to time: refused",
    ],
    ["writes wait for it", { writes: { lastError: "gone" }, pending: 3 }, "writes wait in the outbox: gone"],
    [
      "acknowledged writes were refused and nobody looked",
      { dead: 2 },
      "the database refused 2 acknowledged writes: see GET /api/outbox/dead, then retry or drop them",
    ],
    [
      "the backend itself tells something",
      { told: "writes wait", writes: { lastError: "writes wait" }, pending: 1 },
      "writes wait",
    ],
    ["no write waits any more", { writes: { lastError: "gone" } }, ""],
  ])("when %s", (_, signs, problem) => {
    expect(backendProblem({ ...WELL, ...signs })).toBe(problem);
  });
});
