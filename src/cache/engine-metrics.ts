import type { EngineStats } from "../engine/engine.ts";
import { type MetricFamily, single } from "../telemetry/metric-family.ts";

/** What an engine counts, as metrics. */
export function engineFamilies(stats: EngineStats): MetricFamily[] {
  const reads = stats.hits + stats.misses;
  return [
    single("counter", "servcache.hits", "{read}", "Reads that found a live entry.", stats.hits),
    single("counter", "servcache.misses", "{read}", "Reads that found none.", stats.misses),
    single(
      "gauge",
      "servcache.hit",
      "1",
      "Share of all reads that found a live entry.",
      reads === 0 ? null : stats.hits / reads,
    ),
    single("counter", "servcache.sets", "{entry}", "Entries written.", stats.sets),
    single("counter", "servcache.deletes", "{entry}", "Entries removed by clients.", stats.deletes),
    {
      kind: "counter",
      name: "servcache.evictions",
      unit: "{entry}",
      help: "Entries removed to make room.",
      points: Object.entries(stats.evictionsByReason).map(([reason, value]) => ({ attributes: { reason }, value })),
    },
    single("counter", "servcache.expirations", "{entry}", "Entries removed after their TTL.", stats.expirations),
    single("gauge", "servcache.entries", "{entry}", "Entries stored.", stats.entries),
    single("gauge", "servcache.memory", "By", "Memory in use for entries, index included.", stats.usedBytes),
    single("gauge", "servcache.memory.limit", "By", "Memory that entries may use.", stats.limitBytes),
  ];
}
