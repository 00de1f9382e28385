/** What the hub knows, as metrics. */

import type { DatabaseStore } from "../backend/database-store.ts";
import type { PartHealth } from "../cache/upstream.ts";
import type { Outbox } from "../outbox/outbox.ts";
import { type MetricFamily, single } from "../telemetry/metric-family.ts";
import { healthFamily } from "../telemetry/node-families.ts";

export interface HubNumbers {
  readonly backend: Pick<DatabaseStore, "stats" | "health"> | null;
  readonly peers: { metrics?(): readonly MetricFamily[] } | null;
  readonly outbox: Pick<Outbox, "destinations" | "stats" | "usedBytes" | "limitBytes">;
  readonly health: Readonly<Record<string, PartHealth>>;
}

/** Names in `DatabaseStore.stats`, and what they are. */
const BACKEND_COUNTERS: readonly (readonly [string, string, string, string])[] = [
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
const BREAKER_STATES = ["closed", "half-open", "open"] as const;

export function hubFamilies({ backend, peers, outbox, health }: HubNumbers): MetricFamily[] {
  return [
    ...(backend === null ? [] : backendFamilies(backend)),
    ...outboxFamilies(outbox),
    ...(peers?.metrics?.() ?? []),
    ...Object.entries(health).map(([part, { status }]) => healthFamily(part, status)),
  ];
}

function backendFamilies(backend: Pick<DatabaseStore, "stats" | "health">): MetricFamily[] {
  const stats = backend.stats();
  const { breaker } = backend.health().facts;
  return [
    ...BACKEND_COUNTERS.map(([key, name, unit, help]) => single("counter", name, unit, help, numberOf(stats[key]))),
    single("gauge", "servcache.backend.waiting", "{load}", "Loads that wait for a call.", numberOf(stats.waiting)),
    {
      kind: "gauge",
      name: "servcache.backend.breaker",
      unit: "{breaker}",
      help: "1 for the state that the breaker before loads is in.",
      points: BREAKER_STATES.map((state) => ({ attributes: { state }, value: Number(breaker === state) })),
    },
  ];
}

function outboxFamilies(outbox: Pick<Outbox, "destinations" | "stats" | "usedBytes" | "limitBytes">): MetricFamily[] {
  const queues = outbox.destinations().map((destination) => ({ destination, ...outbox.stats(destination) }));
  const gauge = (name: string, unit: string, help: string, of: (queue: (typeof queues)[number]) => number) => ({
    kind: "gauge" as const,
    name,
    unit,
    help,
    points: queues.map((queue) => ({ attributes: { destination: queue.destination }, value: of(queue) })),
  });
  return [
    single("gauge", "servcache.outbox.size", "By", "Bytes of what waits in the outbox.", outbox.usedBytes),
    single("gauge", "servcache.outbox.limit", "By", "Bytes that may wait in the outbox.", outbox.limitBytes),
    gauge("servcache.outbox.pending", "{mutation}", "Mutations that wait, by destination.", (queue) => queue.pending),
    gauge("servcache.outbox.dead", "{mutation}", "Dead letters, by destination.", (queue) => queue.dead),
    gauge(
      "servcache.outbox.oldest.age",
      "s",
      "Age of the oldest mutation that waits.",
      (queue) => queue.oldestAgeMs / 1000,
    ),
  ];
}

function numberOf(value: unknown): number | null {
  return typeof value === "number" ? value : null;
}
