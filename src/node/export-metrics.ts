import { engineFamilies } from "../cache/engine-metrics.ts";
import type { Config } from "../config/config.ts";
import { type Engine, EngineUnavailableError } from "../engine/engine.ts";
import { ByteBudget } from "../runtime/byte-budget.ts";
import type { Log } from "../telemetry/log.ts";
import { type MetricFamily, merged } from "../telemetry/metric-family.ts";
import { startMetricsExport } from "../telemetry/metrics-export.ts";
import { inFlightFamilies, nodeFamilies } from "../telemetry/node-families.ts";
import { sharedFamilies } from "../telemetry/node-telemetry.ts";
import type { Hub } from "./hub.ts";
import type { SharedParts } from "./shared-parts.ts";
import { identityOf, withinMs } from "./thread-telemetry.ts";

export interface ExportedNode {
  readonly config: Config;
  readonly shared: SharedParts;
  readonly engine: Engine;
  readonly hub: Hub | null;
  readonly isReady: () => boolean;
  readonly log: Pick<Log, "warn">;
}

const CLOSE_MS = 1_000;

/** Sends the metrics of a node over OTLP, where the configuration says so. */
export async function exportMetrics(node: ExportedNode): Promise<{ close(): Promise<void> }> {
  const { shared, log } = node;
  const { metrics } = node.config.telemetry.otel;
  if (metrics === null) return { close: async () => {} };
  const running = await startMetricsExport({
    target: metrics,
    intervalMs: metrics.intervalMs,
    node: identityOf(shared),
    startedMs: shared.startedMs,
    nowMs: Date.now,
    families: () => familiesOf(node),
    onFailure: (message) => log.warn(message),
  });
  return { close: () => withinMs(CLOSE_MS, running.close()) };
}

async function familiesOf({ engine, hub, shared, isReady }: ExportedNode): Promise<MetricFamily[]> {
  const state = {
    version: identityOf(shared).version,
    engineName: engine.name,
    engineStatus: engine.health().status,
    isReady: isReady(),
    uptimeMs: Date.now() - shared.startedMs,
  };
  return merged([
    ...(await engineFamiliesIfThere(engine)),
    ...sharedFamilies(shared.telemetry),
    ...inFlightFamilies(ByteBudget.attach(shared.inFlight)),
    ...nodeFamilies(state),
    ...(hub?.metrics() ?? []),
  ]);
}

async function engineFamiliesIfThere(engine: Engine): Promise<MetricFamily[]> {
  try {
    return engineFamilies(await engine.stats());
  } catch (error) {
    if (error instanceof EngineUnavailableError) return [];
    throw error;
  }
}
