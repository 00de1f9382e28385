/** Metric families, as read by both exporters (Prometheus text and OTLP). Structured-cloneable. */

import type { LatencyHistogram } from "./latency-buckets.ts";

export type Attributes = Readonly<Record<string, string>>;

export interface MetricPoint {
  readonly attributes: Attributes;
  readonly value: number;
}

export interface NumberFamily {
  readonly kind: "counter" | "gauge";
  /** The OpenTelemetry name: dotted, without unit and without `_total`. */
  readonly name: string;
  /** UCUM: `s`, `By`, `1`, or an annotation such as `{entry}`. */
  readonly unit: string;
  /** One sentence. */
  readonly help: string;
  readonly points: readonly MetricPoint[];
}

export interface LatencyPoint {
  readonly attributes: Attributes;
  readonly histogram: LatencyHistogram;
}

/** A histogram of durations in seconds. */
export interface LatencyFamily {
  readonly kind: "histogram";
  readonly name: string;
  readonly unit: "s";
  readonly help: string;
  readonly points: readonly LatencyPoint[];
}

export type MetricFamily = NumberFamily | LatencyFamily;

/** A family with one point; null = unknown, no points. */
export function single(
  kind: NumberFamily["kind"],
  name: string,
  unit: string,
  help: string,
  value: number | null,
): NumberFamily {
  return { kind, name, unit, help, points: value === null ? [] : [{ attributes: {}, value }] };
}

/** Merges the families of several sources: points of the same name share the description of the first source. */
export function merged(families: readonly MetricFamily[]): MetricFamily[] {
  const byName = new Map<string, MetricFamily>();
  for (const family of families) {
    const known = byName.get(family.name);
    if (known === undefined) byName.set(family.name, family);
    else if (known.kind === "histogram" && family.kind === "histogram") {
      byName.set(family.name, { ...known, points: [...known.points, ...family.points] });
    } else if (known.kind !== "histogram" && family.kind !== "histogram") {
      byName.set(family.name, { ...known, points: [...known.points, ...family.points] });
    }
  }
  return [...byName.values()];
}
