/**
 * Reads the OpenTelemetry variables that decide whether, where and what is exported. OpenTelemetry's own packages read
 * those for headers, time limits, compression, certificates and the resource.
 *
 * As its specification demands, an invalid value is ignored with a warning.
 */

type Environment = Readonly<Record<string, string | undefined>>;

/** Plain data, so that it can be sent to threads. */
export interface OtelConfig {
  /** Null = no traces are recorded. */
  readonly traces: OtlpTarget | null;
  /** Null = metrics are served only at `/metrics`. */
  readonly metrics: (OtlpTarget & { readonly intervalMs: number }) | null;
  readonly sampler: SamplerConfig;
  readonly spans: SpanQueueConfig;
}

/** The queue of spans that wait for export, in each thread. */
interface SpanQueueConfig {
  /** The most spans that may wait. */
  readonly limit: number;
  /** The most spans in one request. */
  readonly batch: number;
  /** The longest time in ms that a span waits for a full batch. */
  readonly delayMs: number;
}

interface OtlpTarget {
  /** The endpoint of the signal itself, such as `http://localhost:4318/v1/traces`. */
  readonly url: string;
  readonly protocol: "http/protobuf" | "http/json";
}

interface SamplerConfig {
  /** Share of the traces that start here, 0 to 1. */
  readonly ratio: number;
  /** Whether traces that start elsewhere follow the sampling decision made there. */
  readonly isParentBased: boolean;
}

const DEFAULT_ENDPOINT = "http://localhost:4318";
const DEFAULT_INTERVAL_MS = 60_000;
/** The defaults of OpenTelemetry's batch processor. */
const SPANS = { limit: 2_048, batch: 512, delayMs: 5_000 };
const MOST_SPANS = 100_000;

/** @param servEndpoint the value of `SERV_OTLP_ENDPOINT` */
export function readOtelEnvironment(
  env: Environment,
  servEndpoint: string | null,
): { readonly otel: OtelConfig; readonly warnings: readonly string[] } {
  const reader = new Reader(env, servEndpoint);
  const metrics = reader.target("metrics");
  const otel = {
    traces: reader.target("traces"),
    metrics:
      metrics === null
        ? null
        : { ...metrics, intervalMs: reader.whole("OTEL_METRIC_EXPORT_INTERVAL", 100, 86_400_000, DEFAULT_INTERVAL_MS) },
    sampler: reader.sampler(),
    spans: {
      limit: reader.whole("OTEL_BSP_MAX_QUEUE_SIZE", 1, MOST_SPANS, SPANS.limit),
      batch: reader.whole("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 1, MOST_SPANS, SPANS.batch),
      delayMs: reader.whole("OTEL_BSP_SCHEDULE_DELAY", 1, 3_600_000, SPANS.delayMs),
    },
  };
  return { otel, warnings: reader.warnings };
}

class Reader {
  readonly warnings: string[] = [];

  constructor(
    private readonly env: Environment,
    private readonly servEndpoint: string | null,
  ) {}

  target(signal: "traces" | "metrics"): OtlpTarget | null {
    if (this.#text("OTEL_SDK_DISABLED").toLowerCase() === "true") return null;
    const upper = signal.toUpperCase();
    const exporter = `OTEL_${upper}_EXPORTER`;
    const wanted = this.#text(exporter)
      .split(",")
      .map((name) => name.trim())
      .filter((name) => name !== "");
    for (const name of wanted) {
      // Prometheus can scrape /metrics whatever is set here.
      if (name !== "otlp" && name !== "none" && !(signal === "metrics" && name === "prometheus"))
        this.#ignored(exporter, "otlp or none");
    }
    const url = this.#urlOf(signal);
    const isOn = wanted.length === 0 ? url !== null : wanted.includes("otlp");
    if (!isOn) return null;
    return { url: url ?? `${DEFAULT_ENDPOINT}/v1/${signal}`, protocol: this.#protocol(upper) };
  }

  sampler(): SamplerConfig {
    const name = this.#text("OTEL_TRACES_SAMPLER") || "parentbased_always_on";
    const isParentBased = name.startsWith("parentbased_");
    switch (isParentBased ? name.slice("parentbased_".length) : name) {
      case "always_on":
        return { isParentBased, ratio: 1 };
      case "always_off":
        return { isParentBased, ratio: 0 };
      case "traceidratio":
        return { isParentBased, ratio: this.#ratio() };
      default:
        this.#ignored(
          "OTEL_TRACES_SAMPLER",
          "always_on, always_off or traceidratio, with or without parentbased_ before",
        );
        return { isParentBased: true, ratio: 1 };
    }
  }

  whole(name: string, min: number, max: number, byDefault: number): number {
    const text = this.#text(name);
    if (text === "") return byDefault;
    const value = /^\d{1,12}$/.test(text) ? Number(text) : -1;
    if (value >= min && value <= max) return value;
    this.#ignored(name, `a whole number from ${min} to ${max}`);
    return byDefault;
  }

  #ratio(): number {
    const text = this.#text("OTEL_TRACES_SAMPLER_ARG");
    if (text === "") return 1;
    const ratio = Number(text);
    if (ratio >= 0 && ratio <= 1) return ratio;
    this.#ignored("OTEL_TRACES_SAMPLER_ARG", "a number from 0 to 1");
    return 1;
  }

  #urlOf(signal: string): string | null {
    const own = `OTEL_EXPORTER_OTLP_${signal.toUpperCase()}_ENDPOINT`;
    const ownUrl = this.#url(own);
    if (ownUrl !== null) return ownUrl;
    const base = this.#url("OTEL_EXPORTER_OTLP_ENDPOINT") ?? this.servEndpoint;
    return base === null ? null : `${base.replace(/\/+$/, "")}/v1/${signal}`;
  }

  #url(name: string): string | null {
    const text = this.#text(name);
    if (text === "") return null;
    if (/^https?:\/\/./i.test(text) && URL.canParse(text)) return text;
    this.#ignored(name, "a URL such as http://localhost:4318");
    return null;
  }

  #protocol(signal: string): OtlpTarget["protocol"] {
    const own = `OTEL_EXPORTER_OTLP_${signal}_PROTOCOL`;
    const name = this.#text(own) === "" ? "OTEL_EXPORTER_OTLP_PROTOCOL" : own;
    const text = this.#text(name);
    if (text === "http/json") return text;
    if (text !== "" && text !== "http/protobuf") this.#ignored(name, "http/protobuf or http/json");
    return "http/protobuf";
  }

  #text(name: string): string {
    return (this.env[name] ?? "").trim();
  }

  #ignored(name: string, expected: string): void {
    const warning = `${name} is ${JSON.stringify(this.#text(name))}, expected ${expected}: it has no effect`;
    if (!this.warnings.includes(warning)) this.warnings.push(warning);
  }
}
