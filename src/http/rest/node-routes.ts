import { promisify } from "node:util";
import { constants, gzip, type ZlibOptions } from "node:zlib";
import type { Cache } from "../../cache/cache.ts";
import { engineFamilies } from "../../cache/engine-metrics.ts";
import type { OperatorPort, PartHealth } from "../../cache/operator-port.ts";
import { type EngineHealth, type EngineStats, EngineUnavailableError } from "../../engine/engine.ts";
import { type Awaitable, after } from "../../runtime/awaitable.ts";
import { type MetricFamily, merged } from "../../telemetry/metric-family.ts";
import { type InFlightState, inFlightFamilies, nodeFamilies } from "../../telemetry/node-families.ts";
import type { ThreadTelemetry } from "../../telemetry/node-telemetry.ts";
import { type BucketChoice, CONTENT_TYPES, renderText, textFormFor } from "../../telemetry/prometheus.ts";
import type { HttpRequest, HttpResponse } from "../transport/exchange.ts";
import { NO_STORE, sendJson } from "../transport/json-answer.ts";
import { accepts } from "./content-coding.ts";

/** The number of hot keys in `/api/stats`. */
const HOT_KEYS = 20;

const zip = promisify<string, ZlibOptions, Buffer>(gzip);

export interface NodeRoutesOptions {
  readonly cache: Cache;
  /** Ms since the Unix epoch. */
  readonly nowMs: () => number;
  readonly startedMs: number;
  readonly version: string;
  /** False while the node starts or stops: the state of `/readyz`. */
  readonly isReady: () => boolean;
  /** The outbox and the backend behind the cache; null = none. */
  readonly upstream: OperatorPort | null;
  /** The counts of this thread; null = not counted. */
  readonly telemetry: ThreadTelemetry | null;
  /** The budget for bodies and answers, for `/metrics`; null = no budget. */
  readonly inFlight: InFlightState | null;
  /** Which buckets the histograms in `/metrics` have. */
  readonly metricsBuckets: BucketChoice;
}

/** The routes about the node as a whole. */
export class NodeRoutes {
  constructor(private readonly options: NodeRoutesOptions) {}

  stats(response: HttpResponse): Awaitable<void> {
    return after(this.options.cache.stats(), (found) =>
      after(this.options.upstream?.stats() ?? {}, (behind) => this.sendStats(response, found, behind)),
    );
  }

  version(response: HttpResponse): void {
    sendJson(response, 200, { version: this.options.version });
  }

  health(response: HttpResponse): Awaitable<void> {
    return after(this.options.upstream?.health() ?? {}, (behind) => this.sendHealth(response, behind));
  }

  alive(response: HttpResponse): void {
    sendJson(response, 200, { status: "alive" });
  }

  ready(response: HttpResponse): void {
    const ready = this.options.isReady();
    sendJson(response, ready ? 200 : 503, { status: ready ? "ready" : "not ready" });
  }

  metrics(request: HttpRequest, response: HttpResponse): Awaitable<void> {
    const form = textFormFor(request.header("accept"));
    const isZipped = accepts(request.header("accept-encoding"), "gzip");
    return after(this.statsIfThere(), (stats) =>
      after(this.options.upstream?.metrics() ?? [], (behind) => {
        const families = merged([...this.families(stats), ...behind]);
        const text = renderText(families, form, this.options.metricsBuckets);
        const headers = `Content-Type: ${CONTENT_TYPES[form]}\r\nVary: Accept-Encoding\r\n${NO_STORE}`;
        return isZipped ? sendZipped(response, headers, text) : response.sendText(200, headers, text);
      }),
    );
  }

  /** Null while the engine is away, when the other metrics are needed most. */
  private statsIfThere(): Awaitable<EngineStats | null> {
    const stats = this.options.cache.stats();
    return stats instanceof Promise ? stats.catch(nullIfUnavailable) : stats;
  }

  private families(stats: EngineStats | null): MetricFamily[] {
    const { cache, telemetry, inFlight, nowMs, startedMs, version, isReady } = this.options;
    return [
      ...(stats === null ? [] : engineFamilies(stats)),
      ...(telemetry?.families() ?? []),
      ...(inFlight === null ? [] : inFlightFamilies(inFlight)),
      ...nodeFamilies({
        version,
        engineName: cache.engineName,
        engineStatus: cache.health().status,
        isReady: isReady(),
        uptimeMs: nowMs() - startedMs,
      }),
    ];
  }

  private sendHealth(response: HttpResponse, behind: Readonly<Record<string, PartHealth>>): void {
    const { cache, nowMs, startedMs, version } = this.options;
    const engine = cache.health();
    const parts = Object.entries(behind);
    // The node continues to serve while a part behind the cache is away.
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

  private sendStats(response: HttpResponse, stats: EngineStats, behind: Readonly<Record<string, unknown>>): void {
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
      ...this.keyStats(),
      ...behind,
      uptime_seconds: Math.floor((nowMs() - startedMs) / 1000),
    });
  }

  private keyStats(): Record<string, unknown> {
    const { telemetry } = this.options;
    if (telemetry === null) return {};
    return {
      hot_keys: telemetry.hottestKeys(HOT_KEYS).map(({ key, reads, errorReads, share, valueBytes }) => ({
        key,
        reads,
        error: errorReads,
        share,
        bytes: valueBytes,
      })),
      namespaces: telemetry.namespaces(),
    };
  }
}

function shown({ status, sinceMs, detail }: EngineHealth | PartHealth): Record<string, unknown> {
  return { status, since: new Date(sinceMs).toISOString(), ...(detail === "" ? {} : { detail }) };
}

/** Compresses outside the serving thread. */
async function sendZipped(response: HttpResponse, headers: string, text: string): Promise<void> {
  const zipped = await zip(text, { level: constants.Z_BEST_SPEED });
  response.sendBytes(200, `${headers}Content-Encoding: gzip\r\n`, zipped, 0, zipped.length);
}

function nullIfUnavailable(error: unknown): null {
  if (error instanceof EngineUnavailableError) return null;
  throw error;
}
