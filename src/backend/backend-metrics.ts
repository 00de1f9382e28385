/** What is counted of a database: as `/api/stats` shows it, and as metrics. */

import { type MetricFamily, single } from "../telemetry/metric-family.ts";
import type { BreakerState } from "./breaker.ts";
import type { ReadThroughStats } from "./read-through.ts";
import type { WriteBehindStats } from "./write-behind.ts";

/** The members of `/api/stats`. */
export type BackendCounts = ReturnType<typeof backendCounts>;

export function backendCounts(loads: ReadThroughStats, writes: WriteBehindStats, staleAnswers: number) {
  return {
    loads: loads.loads,
    queries: loads.calls,
    found: loads.found,
    absent: loads.absent,
    failed: loads.failed,
    coalesced: loads.joined,
    negative_hits: loads.negativeHits,
    discarded: loads.discarded,
    waiting: loads.waiting,
    stale_answers: staleAnswers,
    rows_written: writes.written,
    rows_superseded: writes.superseded,
    rows_refused: writes.refusals,
    rows_dead: writes.deadLetters,
    failed_batches: writes.failures,
  };
}

/** Member, name of the metric, unit, what it is. */
const COUNTERS: readonly (readonly [keyof BackendCounts, string, string, string])[] = [
  ["loads", "servcache.backend.loads", "{load}", "Loads that readers asked for."],
  ["queries", "servcache.backend.queries", "{call}", "Calls that loads made to the database."],
  ["found", "servcache.backend.fills", "{entry}", "Values that were loaded into the cache."],
  ["absent", "servcache.backend.absent", "{load}", "Loads of what the database does not have."],
  ["failed", "servcache.backend.load_failures", "{load}", "Loads that failed."],
  ["coalesced", "servcache.backend.coalesced", "{load}", "Loads that joined one of the same key."],
  ["negative_hits", "servcache.backend.negative_hits", "{load}", "Loads that a remembered absence answered."],
  ["discarded", "servcache.backend.discarded", "{entry}", "Loaded values that a write overtook."],
  ["stale_answers", "servcache.backend.stale_answers", "{load}", "Loads answered with a value past its TTL."],
  ["rows_written", "servcache.backend.rows_written", "{row}", "Rows that write-behind has written."],
  ["rows_superseded", "servcache.backend.rows_superseded", "{row}", "Rows of which the database had a newer one."],
  ["rows_refused", "servcache.backend.rows_refused", "{row}", "Rows that the database refused."],
  ["rows_dead", "servcache.backend.rows_dead", "{row}", "Rows that became dead letters."],
  ["failed_batches", "servcache.backend.batch_failures", "{batch}", "Batches of rows that failed."],
];
const BREAKER_STATES = ["closed", "half-open", "open"] as const satisfies readonly BreakerState[];

export function backendFamilies(counts: BackendCounts, breaker: BreakerState): MetricFamily[] {
  return [
    ...COUNTERS.map(([member, name, unit, help]) => single("counter", name, unit, help, counts[member])),
    single("gauge", "servcache.backend.waiting", "{load}", "Loads that wait for a call.", counts.waiting),
    {
      kind: "gauge",
      name: "servcache.backend.breaker",
      unit: "{breaker}",
      help: "1 for the state that the breaker before loads is in.",
      points: BREAKER_STATES.map((state) => ({ attributes: { state }, value: Number(breaker === state) })),
    },
  ];
}
