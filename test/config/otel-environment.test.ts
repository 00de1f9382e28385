import { describe, expect, test } from "bun:test";
import { readOtelEnvironment } from "../../src/config/otel-environment.ts";

const OFF = {
  traces: null,
  metrics: null,
  sampler: { ratio: 1, isParentBased: true },
  spans: { limit: 2_048, batch: 512, delayMs: 5_000 },
};

describe("the environment of OpenTelemetry", () => {
  test("exports nothing where no endpoint is named", () => {
    expect(readOtelEnvironment({}, null)).toEqual({ otel: OFF, warnings: [] });
    expect(readOtelEnvironment({ OTEL_TRACES_SAMPLER: "", OTEL_SERVICE_NAME: "x" }, null).otel).toEqual(OFF);
  });

  test.each([
    [{ OTEL_EXPORTER_OTLP_ENDPOINT: "http://a:4318/" }, null],
    [{ OTEL_EXPORTER_OTLP_ENDPOINT: "http://a:4318" }, "http://b"],
    [{}, "http://a:4318"],
  ])("sends both signals to the endpoint of %p and %p", (env, servEndpoint) => {
    const { otel } = readOtelEnvironment(env, servEndpoint);
    expect(otel.traces).toEqual({ url: "http://a:4318/v1/traces", protocol: "http/protobuf" });
    expect(otel.metrics).toEqual({ url: "http://a:4318/v1/metrics", protocol: "http/protobuf", intervalMs: 60_000 });
  });

  test("lets each signal have an endpoint and a form of its own", () => {
    const { otel } = readOtelEnvironment(
      {
        OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: "https://t/x",
        OTEL_EXPORTER_OTLP_TRACES_PROTOCOL: "http/json",
        OTEL_METRIC_EXPORT_INTERVAL: "5000",
        OTEL_METRICS_EXPORTER: "otlp",
      },
      null,
    );
    expect(otel.traces).toEqual({ url: "https://t/x", protocol: "http/json" });
    expect(otel.metrics).toEqual({
      url: "http://localhost:4318/v1/metrics",
      protocol: "http/protobuf",
      intervalMs: 5_000,
    });
  });

  test.each([
    [{ OTEL_SDK_DISABLED: "true" }, { traces: false, metrics: false }],
    [{ OTEL_TRACES_EXPORTER: "none" }, { traces: false, metrics: true }],
    [{ OTEL_METRICS_EXPORTER: "none" }, { traces: true, metrics: false }],
    [{ OTEL_METRICS_EXPORTER: "prometheus" }, { traces: true, metrics: false }],
  ])("switches off what %p says", (env, on) => {
    const { otel, warnings } = readOtelEnvironment(env, "http://a");
    expect({ traces: otel.traces !== null, metrics: otel.metrics !== null, warnings }).toEqual({ ...on, warnings: [] });
  });

  test.each([
    ["always_on", undefined, { isParentBased: false, ratio: 1 }],
    ["always_off", undefined, { isParentBased: false, ratio: 0 }],
    ["parentbased_always_off", "0.5", { isParentBased: true, ratio: 0 }],
    ["traceidratio", "0.25", { isParentBased: false, ratio: 0.25 }],
    ["parentbased_traceidratio", "0.01", { isParentBased: true, ratio: 0.01 }],
    ["parentbased_traceidratio", undefined, { isParentBased: true, ratio: 1 }],
  ])("knows the sampler %s with %p", (name, argument, sampler) => {
    const env = { OTEL_TRACES_SAMPLER: name, OTEL_TRACES_SAMPLER_ARG: argument };
    expect(readOtelEnvironment(env, null)).toEqual({ otel: { ...OFF, sampler }, warnings: [] });
  });

  test("warns of what it can't use, once each, and goes on without", () => {
    const { otel, warnings } = readOtelEnvironment(
      {
        OTEL_EXPORTER_OTLP_ENDPOINT: "a:4318",
        OTEL_TRACES_EXPORTER: "zipkin",
        OTEL_TRACES_SAMPLER: "jaeger_remote",
        OTEL_BSP_MAX_QUEUE_SIZE: "lots",
      },
      null,
    );
    expect(otel).toEqual(OFF);
    expect(warnings).toEqual([
      'OTEL_EXPORTER_OTLP_ENDPOINT is "a:4318", expected a URL such as http://localhost:4318: it has no effect',
      'OTEL_TRACES_EXPORTER is "zipkin", expected otlp or none: it has no effect',
      'OTEL_TRACES_SAMPLER is "jaeger_remote", expected always_on, always_off or traceidratio, with or without parentbased_ before: it has no effect',
      'OTEL_BSP_MAX_QUEUE_SIZE is "lots", expected a whole number from 1 to 100000: it has no effect',
    ]);
    const grpc = readOtelEnvironment({ OTEL_EXPORTER_OTLP_PROTOCOL: "grpc" }, "http://a");
    expect(grpc.otel.traces?.protocol).toBe("http/protobuf");
    expect(grpc.warnings).toHaveLength(1);
  });
});
