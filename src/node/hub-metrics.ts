/** What the hub knows, as metrics. */

import type { DatabaseStore } from "../backend/database-store.ts";
import type { PartHealth } from "../cache/operator-port.ts";
import type { Outbox } from "../outbox/outbox.ts";
import { type MetricFamily, single } from "../telemetry/metric-family.ts";
import { healthFamily } from "../telemetry/node-families.ts";

export interface HubNumbers {
  readonly backend: Pick<DatabaseStore, "metrics"> | null;
  readonly peers: { metrics?(): readonly MetricFamily[] } | null;
  readonly outbox: Pick<Outbox, "destinations" | "stats" | "usedBytes" | "limitBytes">;
  readonly health: Readonly<Record<string, PartHealth>>;
}

export function hubFamilies({ backend, peers, outbox, health }: HubNumbers): MetricFamily[] {
  return [
    ...(backend?.metrics() ?? []),
    ...outboxFamilies(outbox),
    ...(peers?.metrics?.() ?? []),
    ...Object.entries(health).map(([part, { status }]) => healthFamily(part, status)),
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
