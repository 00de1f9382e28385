import type { Cache } from "../cache/cache.ts";
import type { PartHealth, UpstreamAdmin, UpstreamReport } from "../cache/upstream.ts";
import type { Awaitable, EngineHealth, EngineStats } from "../engine/engine.ts";
import { after } from "./after.ts";
import type { HttpResponse } from "./exchange.ts";

const JSON_HEADERS = "Content-Type: application/json\r\n";
const PROMETHEUS_HEADERS = "Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n";

const NOTHING_BEHIND: UpstreamReport = { health: {}, stats: {} };

export interface NodeRoutesOptions {
  readonly cache: Cache;
  readonly nowMs: () => number;
  readonly startedMs: number;
  readonly version: string;
  readonly isReady: () => boolean;
  /** What is behind the cache; null = nothing. */
  readonly upstream: UpstreamAdmin | null;
}

/** What an operator asks of the node as a whole. */
export class NodeRoutes {
  constructor(private readonly options: NodeRoutesOptions) {}

  stats(response: HttpResponse): Awaitable<void> {
    return after(this.options.cache.stats(), (found) =>
      after(this.report(), (report) => this.sendStats(response, found, report)),
    );
  }

  version(response: HttpResponse): void {
    sendJson(response, 200, { version: this.options.version });
  }

  health(response: HttpResponse): Awaitable<void> {
    return after(this.report(), (report) => this.sendHealth(response, report));
  }

  alive(response: HttpResponse): void {
    sendJson(response, 200, { status: "alive" });
  }

  ready(response: HttpResponse): void {
    const ready = this.options.isReady();
    sendJson(response, ready ? 200 : 503, { status: ready ? "ready" : "not ready" });
  }

  metrics(response: HttpResponse): Awaitable<void> {
    const stats = this.options.cache.stats();
    return stats instanceof Promise
      ? stats.then((found) => sendMetrics(response, found))
      : sendMetrics(response, stats);
  }

  private report(): Awaitable<UpstreamReport> {
    return this.options.upstream?.report() ?? NOTHING_BEHIND;
  }

  private sendHealth(response: HttpResponse, report: UpstreamReport): void {
    const { cache, nowMs, startedMs, version } = this.options;
    const engine = cache.health();
    const parts = Object.entries(report.health);
    // What is behind the cache may be away: the node serves what it has all the same.
    const isDegraded = engine.status === "degraded" || parts.some(([, part]) => part.status !== "ok");
    const status = engine.status === "unavailable" ? engine.status : isDegraded ? "degraded" : "ok";
    sendJson(response, status === "unavailable" ? 503 : 200, {
      status,
      engine: { name: cache.engineName, ...shown(engine) },
      ...Object.fromEntries(parts.map(([name, part]) => [name, { ...shown(part), ...part.facts }])),
      uptime_seconds: Math.floor((nowMs() - startedMs) / 1000),
      version,
    });
  }

  private sendStats(response: HttpResponse, stats: EngineStats, report: UpstreamReport): void {
    const { cache, nowMs, startedMs } = this.options;
    const reads = stats.hits + stats.misses;
    sendJson(response, 200, {
      engine: cache.engineName,
      entries: stats.entries,
      bytes: stats.usedBytes,
      limit_bytes: stats.limitBytes,
      hits: stats.hits,
      misses: stats.misses,
      hit_ratio: reads === 0 ? null : stats.hits / reads,
      sets: stats.sets,
      deletes: stats.deletes,
      evictions: stats.evictions,
      expirations: stats.expirations,
      ...report.stats,
      uptime_seconds: Math.floor((nowMs() - startedMs) / 1000),
    });
  }
}

function shown({ status, sinceMs, detail }: EngineHealth | PartHealth): Record<string, unknown> {
  return { status, since: new Date(sinceMs).toISOString(), ...(detail === "" ? {} : { detail }) };
}

function sendJson(response: HttpResponse, status: number, body: unknown): void {
  response.sendText(status, JSON_HEADERS, JSON.stringify(body));
}

function sendMetrics(response: HttpResponse, stats: EngineStats): void {
  const lines = [
    ...metric("servcache_hits_total", "counter", "Reads that found a live entry.", stats.hits),
    ...metric("servcache_misses_total", "counter", "Reads that found none.", stats.misses),
    ...metric("servcache_sets_total", "counter", "Entries written.", stats.sets),
    ...metric("servcache_deletes_total", "counter", "Entries removed by clients.", stats.deletes),
    ...metric("servcache_evictions_total", "counter", "Entries removed to make room.", stats.evictions),
    ...metric("servcache_expirations_total", "counter", "Entries removed after their TTL.", stats.expirations),
    ...metric("servcache_entries", "gauge", "Entries stored.", stats.entries),
    ...metric("servcache_memory_bytes", "gauge", "Memory in use for entries, index included.", stats.usedBytes),
    ...metric("servcache_memory_limit_bytes", "gauge", "Memory that entries may use.", stats.limitBytes),
  ];
  response.sendText(200, PROMETHEUS_HEADERS, `${lines.join("\n")}\n`);
}

function metric(name: string, type: string, help: string, value: number | null): string[] {
  return value === null ? [] : [`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`, `${name} ${value}`];
}
