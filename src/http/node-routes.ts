import type { Cache } from "../cache/cache.ts";
import type { Awaitable, EngineStats } from "../engine/engine.ts";
import type { HttpResponse } from "./exchange.ts";

const JSON_HEADERS = "Content-Type: application/json\r\n";
const PROMETHEUS_HEADERS = "Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n";

export interface NodeRoutesOptions {
  readonly cache: Cache;
  readonly nowMs: () => number;
  readonly startedMs: number;
  readonly version: string;
  readonly isReady: () => boolean;
}

/** What an operator asks of the node as a whole. */
export class NodeRoutes {
  constructor(private readonly options: NodeRoutesOptions) {}

  stats(response: HttpResponse): Awaitable<void> {
    const stats = this.options.cache.stats();
    return stats instanceof Promise
      ? stats.then((found) => this.sendStats(response, found))
      : this.sendStats(response, stats);
  }

  version(response: HttpResponse): void {
    sendJson(response, 200, { version: this.options.version });
  }

  health(response: HttpResponse): void {
    const { cache, nowMs, startedMs, version } = this.options;
    const engine = cache.health();
    sendJson(response, engine.status === "unavailable" ? 503 : 200, {
      status: engine.status,
      engine: {
        name: cache.engineName,
        status: engine.status,
        since: new Date(engine.sinceMs).toISOString(),
        ...(engine.detail === "" ? {} : { detail: engine.detail }),
      },
      uptime_seconds: Math.floor((nowMs() - startedMs) / 1000),
      version,
    });
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

  private sendStats(response: HttpResponse, stats: EngineStats): void {
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
      uptime_seconds: Math.floor((nowMs() - startedMs) / 1000),
    });
  }
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
