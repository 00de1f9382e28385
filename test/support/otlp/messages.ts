/** The messages of OTLP 1 that the tests read (opentelemetry/proto/…/v1), under the names of their JSON form. */
import type { Message } from "./protobuf.ts";

const anyValue: Message = {
  1: ["stringValue", "string"],
  2: ["boolValue", "bool"],
  3: ["intValue", "varint"],
  4: ["doubleValue", "double"],
};
const attributes = (): Message => ({ 1: ["key", "string"], 2: ["value", anyValue] });
const resource: Message = { 1: ["attributes", attributes, "many"] };
const scope: Message = { 1: ["name", "string"], 2: ["version", "string"] };

const link: Message = { 1: ["traceId", "hex"], 2: ["spanId", "hex"], 3: ["traceState", "string"] };
const status: Message = { 2: ["message", "string"], 3: ["code", "varint"] };
const span: Message = {
  1: ["traceId", "hex"],
  2: ["spanId", "hex"],
  3: ["traceState", "string"],
  4: ["parentSpanId", "hex"],
  5: ["name", "string"],
  6: ["kind", "varint"],
  7: ["startTimeUnixNano", "fixed64"],
  8: ["endTimeUnixNano", "fixed64"],
  9: ["attributes", attributes, "many"],
  13: ["links", link, "many"],
  15: ["status", status],
};
const scopeSpans: Message = { 1: ["scope", scope], 2: ["spans", span, "many"] };
const resourceSpans: Message = { 1: ["resource", resource], 2: ["scopeSpans", scopeSpans, "many"] };
export const traceRequest: Message = { 1: ["resourceSpans", resourceSpans, "many"] };

const numberPoint: Message = {
  2: ["startTimeUnixNano", "fixed64"],
  3: ["timeUnixNano", "fixed64"],
  4: ["asDouble", "double"],
  7: ["attributes", attributes, "many"],
};
const gauge: Message = { 1: ["dataPoints", numberPoint, "many"] };
const sum: Message = {
  1: ["dataPoints", numberPoint, "many"],
  2: ["aggregationTemporality", "varint"],
  3: ["isMonotonic", "bool"],
};
const buckets: Message = { 1: ["offset", "sint32"], 2: ["bucketCounts", "packed-varint", "many"] };
const exponentialPoint: Message = {
  1: ["attributes", attributes, "many"],
  4: ["count", "fixed64"],
  5: ["sum", "double"],
  6: ["scale", "sint32"],
  7: ["zeroCount", "fixed64"],
  8: ["positive", buckets],
};
const exponentialHistogram: Message = {
  1: ["dataPoints", exponentialPoint, "many"],
  2: ["aggregationTemporality", "varint"],
};
const metric: Message = {
  1: ["name", "string"],
  2: ["description", "string"],
  3: ["unit", "string"],
  5: ["gauge", gauge],
  7: ["sum", sum],
  10: ["exponentialHistogram", exponentialHistogram],
};
const scopeMetrics: Message = { 1: ["scope", scope], 2: ["metrics", metric, "many"] };
const resourceMetrics: Message = { 1: ["resource", resource], 2: ["scopeMetrics", scopeMetrics, "many"] };
export const metricsRequest: Message = { 1: ["resourceMetrics", resourceMetrics, "many"] };
