import type { RedisClient } from "./client.ts";

/** Sums over all primaries. */
export interface ServerStats {
  /** Keys of the whole database: Redis does not count keys by prefix. */
  readonly entries: number;
  readonly usedBytes: number;
  /** Null = at least one primary has no limit. */
  readonly limitBytes: number | null;
  /** Since the servers started. */
  readonly evictions: number;
  readonly expirations: number;
}

export async function readServerStats(client: RedisClient): Promise<ServerStats> {
  const each = await Promise.all(
    client.primaries().map(async (primary) => {
      const [size, memory, stats] = await Promise.all([
        client.sendTo(primary, "dbsize", []),
        client.sendTo(primary, "info", ["memory"]),
        client.sendTo(primary, "info", ["stats"]),
      ]);
      return {
        entries: Number(size),
        usedBytes: field(memory, "used_memory"),
        limitBytes: field(memory, "maxmemory"),
        evictions: field(stats, "evicted_keys"),
        expirations: field(stats, "expired_keys"),
      };
    }),
  );
  const sum = (of: (stats: (typeof each)[number]) => number) => each.reduce((total, stats) => total + of(stats), 0);
  return {
    entries: sum((stats) => stats.entries),
    usedBytes: sum((stats) => stats.usedBytes),
    limitBytes: each.some((stats) => stats.limitBytes === 0) ? null : sum((stats) => stats.limitBytes),
    evictions: sum((stats) => stats.evictions),
    expirations: sum((stats) => stats.expirations),
  };
}

function field(info: unknown, name: string): number {
  return Number(new RegExp(`^${name}:(\\d+)`, "m").exec(String(info))?.[1] ?? 0);
}
