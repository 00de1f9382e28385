/** Renders families as Prometheus text, in its own format and in OpenMetrics 1.0. */

import { type Exemplar, type LatencyHistogram, PER_OCTAVE, UPPER_BOUNDS_S } from "./latency-buckets.ts";
import type { Attributes, LatencyFamily, MetricFamily, NumberFamily } from "./metric-family.ts";

export type TextForm = "prometheus" | "openmetrics";

/** Which buckets of a histogram are written: all, or those whose bounds are powers of two. */
export type BucketChoice = "full" | "few";

export const CONTENT_TYPES: Readonly<Record<TextForm, string>> = {
  prometheus: "text/plain; version=0.0.4; charset=utf-8",
  openmetrics: "application/openmetrics-text; version=1.0.0; charset=utf-8",
};

/** Suffixes of names by unit. Annotations such as `{entry}` have none. */
const UNIT_SUFFIXES: Readonly<Record<string, string>> = { s: "_seconds", By: "_bytes", "1": "_ratio" };

const BOUND_LABELS = [...UPPER_BOUNDS_S.map((bound) => `le="${bound}"`), 'le="+Inf"'];
/** Every how many bounds one is written. The first and the last bound are powers of two, as is every `PER_OCTAVE`th. */
const STEPS: Readonly<Record<BucketChoice, number>> = { full: 1, few: PER_OCTAVE };

/** The format for an `Accept` header: OpenMetrics if the header names it and does not prefer plain text. */
export function textFormFor(accept: string | null): TextForm {
  const openMetrics = qualityOf(accept ?? "", "application/openmetrics-text");
  return openMetrics > 0 && openMetrics >= qualityOf(accept ?? "", "text/plain") ? "openmetrics" : "prometheus";
}

function qualityOf(accept: string, type: string): number {
  let best = 0;
  for (const range of accept.split(",")) {
    const [name = "", ...parameters] = range.split(";").map((part) => part.trim().toLowerCase());
    if (name !== type) continue;
    const weight = parameters.find((parameter) => parameter.startsWith("q="));
    const quality = weight === undefined ? 1 : Number(weight.slice(2));
    if (quality > best) best = quality;
  }
  return best;
}

/** The Prometheus name of a family; for counters without `_total`. */
function prometheusName({ name, unit }: Pick<MetricFamily, "name" | "unit">): string {
  return name.replaceAll(".", "_") + (UNIT_SUFFIXES[unit] ?? "");
}

export function renderText(families: readonly MetricFamily[], form: TextForm, buckets: BucketChoice): string {
  const lines: string[] = [];
  for (const family of families) {
    if (family.points.length === 0) continue;
    if (family.kind === "histogram") addHistograms(lines, family, form, STEPS[buckets]);
    else addNumbers(lines, family, form);
  }
  if (form === "openmetrics") lines.push("# EOF");
  return `${lines.join("\n")}\n`;
}

function addNumbers(lines: string[], family: NumberFamily, form: TextForm): void {
  const name = prometheusName(family);
  const sampleName = family.kind === "counter" ? `${name}_total` : name;
  // OpenMetrics names the family of a counter without the suffix of its samples.
  addHead(lines, form === "openmetrics" ? name : sampleName, family);
  for (const { attributes, value } of family.points) {
    const labels = labelsOf(attributes);
    lines.push(`${sampleName}${labels === "" ? "" : `{${labels}}`} ${value}`);
  }
}

function addHistograms(lines: string[], family: LatencyFamily, form: TextForm, step: number): void {
  const name = prometheusName(family);
  addHead(lines, name, family);
  for (const { attributes, histogram } of family.points) {
    const labels = labelsOf(attributes);
    const prefix = labels === "" ? `${name}_bucket{` : `${name}_bucket{${labels},`;
    const exemplar = form === "openmetrics" ? histogram.exemplar : null;
    addBuckets(lines, prefix, histogram, { exemplar, step });
    const set = labels === "" ? "" : `{${labels}}`;
    lines.push(`${name}_sum${set} ${histogram.sumSeconds}`, `${name}_count${set} ${histogram.count}`);
  }
}

function addBuckets(
  lines: string[],
  prefix: string,
  { counts }: LatencyHistogram,
  { exemplar, step }: { readonly exemplar: Exemplar | null; readonly step: number },
): void {
  let cumulative = 0;
  let shown = exemplar === null;
  for (const [bucket, label] of BOUND_LABELS.entries()) {
    cumulative += counts[bucket] ?? 0;
    if (bucket % step !== 0 && bucket < UPPER_BOUNDS_S.length) continue;
    const holds = !shown && exemplar !== null && exemplar.seconds <= (UPPER_BOUNDS_S[bucket] ?? Infinity);
    shown ||= holds;
    lines.push(`${prefix}${label}} ${cumulative}${holds && exemplar !== null ? exemplarText(exemplar) : ""}`);
  }
}

function exemplarText({ traceId, spanId, seconds, unixMs }: Exemplar): string {
  return ` # {trace_id="${traceId}",span_id="${spanId}"} ${seconds} ${unixMs / 1000}`;
}

function addHead(lines: string[], name: string, { kind, help }: MetricFamily): void {
  lines.push(`# HELP ${name} ${help}`, `# TYPE ${name} ${kind}`);
}

function labelsOf(attributes: Attributes): string {
  return Object.entries(attributes)
    .map(([name, value]) => `${name.replaceAll(".", "_")}="${escaped(value)}"`)
    .join(",");
}

function escaped(value: string): string {
  return value.replace(/[\\"\n]/g, (character) => (character === "\n" ? "\\n" : `\\${character}`));
}
