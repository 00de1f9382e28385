/** Exports metrics over OTLP, from the same counts that `/metrics` shows. */

import { type HrTime, ValueType } from "@opentelemetry/api";
import type { MetricData, PushMetricExporter, ResourceMetrics } from "@opentelemetry/sdk-metrics";
import { messageOf } from "../runtime/error-message.ts";
import { BUCKETS, FIRST_INDEX, type LatencyHistogram, SCALE } from "./latency-buckets.ts";
import type { MetricFamily } from "./metric-family.ts";
import { type NodeIdentity, type OtlpTarget, resourceOf } from "./trace/open-tracing.ts";

export interface MetricsExportOptions {
  readonly target: OtlpTarget;
  readonly intervalMs: number;
  readonly node: NodeIdentity;
  readonly startedMs: number;
  readonly nowMs: () => number;
  readonly families: () => MetricFamily[] | Promise<MetricFamily[]>;
  readonly onFailure: (message: string) => void;
}

export interface MetricsExport {
  /** Exports once more, and stops. */
  close(): Promise<void>;
}

const CUMULATIVE = 1;
const EXPONENTIAL_HISTOGRAM = 1;
const GAUGE = 2;
const SUM = 3;

/** Starts the periodic export of metrics. */
export async function startMetricsExport(options: MetricsExportOptions): Promise<MetricsExport> {
  const exporter = await exporterFor(options.target);
  const resource = resourceOf(options.node);
  let under: Promise<void> | null = null;
  const send = async (): Promise<void> => {
    try {
      const metrics = metricData(await options.families(), options.startedMs, options.nowMs());
      const scope = { name: "servcache", version: options.node.version };
      await exported(exporter, { resource, scopeMetrics: [{ scope, metrics }] });
    } catch (error) {
      options.onFailure(`metrics could not be exported: ${messageOf(error)}`);
    }
  };
  const timer = setInterval(() => {
    under ??= send().finally(() => {
      under = null;
    });
  }, options.intervalMs);
  timer.unref();
  return {
    close: async () => {
      clearInterval(timer);
      await under;
      await send();
      await exporter.shutdown();
    },
  };
}

/** Converts families to the form of OpenTelemetry's exporters. */
function metricData(families: readonly MetricFamily[], startedMs: number, nowMs: number): MetricData[] {
  const times = { startTime: hrTime(startedMs), endTime: hrTime(nowMs) };
  return families
    .filter((family) => family.points.length > 0)
    .map((family): MetricData => {
      const { name, help: description, unit } = family;
      const descriptor = { name, description, unit, valueType: ValueType.DOUBLE };
      const common = { descriptor, aggregationTemporality: CUMULATIVE };
      if (family.kind === "histogram") {
        const dataPoints = family.points.map(({ attributes, histogram }) => ({
          ...times,
          attributes,
          value: exponential(histogram),
        }));
        return { ...common, dataPointType: EXPONENTIAL_HISTOGRAM, dataPoints };
      }
      const dataPoints = family.points.map(({ attributes, value }) => ({ ...times, attributes, value }));
      if (family.kind === "gauge") return { ...common, dataPointType: GAUGE, dataPoints };
      return { ...common, dataPointType: SUM, isMonotonic: true, dataPoints };
    });
}

/** Our buckets map one to one; durations above the last bound go into the next bucket of the exponential histogram. */
function exponential({ counts, count, sumSeconds }: LatencyHistogram) {
  const used = counts.map((here, bucket) => (here > 0 ? bucket : -1)).filter((bucket) => bucket >= 0);
  const first = used[0] ?? 0;
  const last = used.at(-1) ?? BUCKETS - 1;
  return {
    count,
    sum: sumSeconds,
    scale: SCALE,
    zeroCount: 0,
    positive: { offset: FIRST_INDEX + first, bucketCounts: counts.slice(first, last + 1) },
    negative: { offset: 0, bucketCounts: [] },
  };
}

async function exporterFor({ url, protocol }: OtlpTarget): Promise<PushMetricExporter> {
  const { OTLPMetricExporter } =
    protocol === "http/json"
      ? await import("@opentelemetry/exporter-metrics-otlp-http")
      : await import("@opentelemetry/exporter-metrics-otlp-proto");
  return new OTLPMetricExporter({ url });
}

function exported(exporter: PushMetricExporter, metrics: ResourceMetrics): Promise<void> {
  return new Promise((resolve, reject) => {
    exporter.export(metrics, ({ code, error }) => {
      if (code === 0) resolve();
      else reject(error ?? new Error("no reason is known"));
    });
  });
}

function hrTime(ms: number): HrTime {
  return [Math.floor(ms / 1_000), Math.round((ms % 1_000) * 1_000_000)];
}
