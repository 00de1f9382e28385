import type { ReadThroughStats } from "./read-through.ts";
import type { WriteBehindStats } from "./write-behind.ts";

/** A failed load is shown for so long, unless the next one succeeds: without readers nobody asks again. */
const FAILED_LOAD_MS = 10_000;

export interface BackendSigns {
  /** What the last look found wrong; empty = nothing. */
  readonly unreachable: string;
  readonly loads: Pick<ReadThroughStats, "breaker" | "lastFailure">;
  readonly writes: Pick<WriteBehindStats, "lastError">;
  /** What the backend itself has to say; empty = nothing. */
  readonly told: string;
  /** How many writes wait. */
  readonly pending: number;
  /** How many acknowledged writes the database refused for good, and nobody has retried or dropped. */
  readonly dead: number;
  readonly nowMs: number;
}

/** What is wrong with the database, in words for an operator; empty = nothing. */
export function backendProblem({ unreachable, told, loads, writes, pending, dead, nowMs }: BackendSigns): string {
  const { breaker, lastFailure } = loads;
  const why = lastFailure === null ? "" : `: ${lastFailure.message}`;
  const isRecent = lastFailure !== null && nowMs - lastFailure.atMs < FAILED_LOAD_MS;
  const loadProblem =
    breaker === "closed"
      ? isRecent && `the last load failed${why}`
      : `loads failed repeatedly, the database is asked again from time to time${why}`;
  // Between two tries it is still away.
  const writeProblem =
    writes.lastError !== "" &&
    !told.includes(writes.lastError) &&
    pending > 0 &&
    `writes wait in the outbox: ${writes.lastError}`;
  const deadProblem =
    dead > 0 &&
    `the database refused ${dead} acknowledged ${dead === 1 ? "write" : "writes"}: see GET /api/outbox/dead, then retry or drop them`;
  const problems = [loadProblem, writeProblem, deadProblem].filter((problem) => typeof problem === "string");
  if (told !== "") problems.push(told);
  if (unreachable !== "" && loadProblem === false && writeProblem === false) problems.unshift(unreachable);
  return problems.join("; ");
}
