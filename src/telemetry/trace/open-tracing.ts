/** Opens the tracer of one thread and the exporter of its spans. */

import { hash } from "node:crypto";
import { detectResources, envDetector, type Resource, resourceFromAttributes } from "@opentelemetry/resources";
import type { SpanExporter } from "@opentelemetry/sdk-trace-base";
import { type SpanCounts, SpanQueue } from "./span-queue.ts";
import { Tracer, type TracerOptions } from "./tracer.ts";

/** The endpoint of a signal. */
export interface OtlpTarget {
  readonly url: string;
  readonly protocol: "http/protobuf" | "http/json";
}

export interface TracingOptions {
  readonly target: OtlpTarget;
  readonly sampler: TracerOptions["sampler"];
  readonly spans: { readonly limit: number; readonly batch: number; readonly delayMs: number };
  readonly keys: "on" | "hashed" | "off";
  readonly node: NodeIdentity;
  readonly counts: SpanCounts;
  readonly onFailure: (message: string) => void;
  readonly random: () => number;
}

export interface NodeIdentity {
  readonly version: string;
  /** Unique for each running node; the same in all its threads. */
  readonly instanceId: string;
}

export interface Tracing {
  readonly tracer: Tracer;
  close(): Promise<void>;
}

const KEY_HASH_DIGITS = 16;

/** Loads the packages here, so that a node without exports does not pay for them. */
export async function openTracing(options: TracingOptions): Promise<Tracing> {
  const { spans, keys, node, counts, onFailure, random } = options;
  const queue = new SpanQueue({
    exporter: await exporterFor(options.target),
    limit: spans.limit,
    batch: Math.min(spans.batch, spans.limit),
    delayMs: spans.delayMs,
    counts,
    onFailure,
    monotonicMs: () => performance.now(),
  });
  const tracer = new Tracer({
    sampler: options.sampler,
    queue,
    resource: resourceOf(node),
    scope: { name: "servcache", version: node.version },
    nowMs: () => performance.timeOrigin + performance.now(),
    random,
    nameKey: keyNames(keys),
  });
  return { tracer, close: () => queue.close() };
}

/** The resource of a node, including `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES`. */
export function resourceOf({ version, instanceId }: NodeIdentity): Resource {
  return resourceFromAttributes({
    "service.name": "servcache",
    "service.version": version,
    "service.instance.id": instanceId,
    "telemetry.sdk.language": "nodejs",
    "telemetry.sdk.name": "opentelemetry",
  }).merge(detectResources({ detectors: [envDetector] }));
}

async function exporterFor({ url, protocol }: OtlpTarget): Promise<SpanExporter> {
  const { OTLPTraceExporter } =
    protocol === "http/json"
      ? await import("@opentelemetry/exporter-trace-otlp-http")
      : await import("@opentelemetry/exporter-trace-otlp-proto");
  return new OTLPTraceExporter({ url });
}

function keyNames(mode: TracingOptions["keys"]): (key: string) => string | null {
  if (mode === "off") return () => null;
  if (mode === "on") return (key) => key;
  return (key) => hash("sha256", key, "hex").slice(0, KEY_HASH_DIGITS);
}
