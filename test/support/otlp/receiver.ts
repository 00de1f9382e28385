/** A collector of the tests' own: takes OTLP over HTTP, as protobuf and as JSON, and keeps what arrives. */

import { createServer, type Server } from "node:http";
import { gunzipSync } from "node:zlib";
import { until } from "../until.ts";
import { metricsRequest, traceRequest } from "./messages.ts";
import { decode } from "./protobuf.ts";

export interface ReceivedSpan {
  readonly traceId: string;
  readonly spanId: string;
  /** Null = it begins the trace. */
  readonly parentSpanId: string | null;
  readonly name: string;
  /** 1 = internal, 2 = server, 3 = client. */
  readonly kind: number;
  readonly attributes: Readonly<Record<string, unknown>>;
  readonly links: readonly { readonly traceId: string; readonly spanId: string }[];
  /** 2 = error. */
  readonly statusCode: number;
  readonly traceState: string;
  readonly resource: Readonly<Record<string, unknown>>;
  readonly durationNs: bigint;
}

export interface ReceivedPoint {
  readonly attributes: Readonly<Record<string, unknown>>;
  /** `asDouble`, or what an exponential histogram holds. */
  readonly point: ReturnType<typeof JSON.parse>;
}

export interface ReceivedMetric {
  readonly name: string;
  readonly unit: string;
  readonly kind: "gauge" | "sum" | "exponentialHistogram";
  readonly points: readonly ReceivedPoint[];
}

type Json = ReturnType<typeof JSON.parse>;

export class OtlpReceiver implements AsyncDisposable {
  readonly spans: ReceivedSpan[] = [];
  /** By name, as they came last. */
  readonly metrics = new Map<string, ReceivedMetric>();
  readonly contentTypes = new Set<string>();
  readonly headers: NodeJS.Dict<string | string[]>[] = [];
  /** What requests are answered with; null = they hang. */
  status: number | null = 200;
  readonly #server: Server;

  private constructor() {
    this.#server = createServer((request, response) => {
      const chunks: Buffer[] = [];
      request.on("data", (chunk: Buffer) => chunks.push(chunk));
      request.on("end", () => {
        if (this.status === null) return;
        const sent = Buffer.concat(chunks);
        const body = request.headers["content-encoding"] === "gzip" ? gunzipSync(sent) : sent;
        this.headers.push(request.headers);
        if (this.status === 200) this.#take(request.url ?? "", request.headers["content-type"] ?? "", body);
        response.writeHead(this.status, { "Content-Type": request.headers["content-type"] ?? "" }).end();
      });
    });
  }

  static async start(): Promise<OtlpReceiver> {
    const receiver = new OtlpReceiver();
    await new Promise<void>((listening) => receiver.#server.listen(0, "127.0.0.1", listening));
    return receiver;
  }

  get url(): string {
    const address = this.#server.address();
    if (address === null || typeof address === "string") throw new Error("the receiver does not listen");
    return `http://127.0.0.1:${address.port}`;
  }

  spanNamed(name: string): ReceivedSpan {
    const found = this.spans.find((span) => span.name === name);
    if (found === undefined) throw new Error(`no span ${name} among ${this.spans.map((span) => span.name).join(", ")}`);
    return found;
  }

  async spansNamed(...names: string[]): Promise<ReceivedSpan[]> {
    await until(`spans ${names.join(", ")}`, () =>
      names.every((name) => this.spans.some((span) => span.name === name)),
    );
    return names.map((name) => this.spanNamed(name));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((closed) => this.#server.close(closed));
  }

  #take(path: string, contentType: string, body: Buffer): void {
    this.contentTypes.add(contentType);
    const isJson = contentType === "application/json";
    if (path === "/v1/traces") {
      const request: Json = isJson ? JSON.parse(body.toString()) : decode(body, traceRequest);
      for (const { resource, scopeSpans } of request.resourceSpans) {
        for (const { spans } of scopeSpans) {
          for (const span of spans) this.spans.push(spanOf(span, attributesOf(resource.attributes)));
        }
      }
    } else if (path === "/v1/metrics") {
      const request: Json = isJson ? JSON.parse(body.toString()) : decode(body, metricsRequest);
      for (const { scopeMetrics } of request.resourceMetrics) {
        for (const { metrics } of scopeMetrics) for (const metric of metrics) this.#takeMetric(metric);
      }
    } else throw new Error(`OTLP has no ${path}`);
  }

  #takeMetric(metric: Json): void {
    const kind = (["gauge", "sum", "exponentialHistogram"] as const).find((one) => metric[one] !== undefined);
    if (kind === undefined) throw new Error(`metric ${metric.name} is of no kind that is known`);
    const points = metric[kind].dataPoints.map((point: Json) => ({
      attributes: attributesOf(point.attributes ?? []),
      point,
    }));
    this.metrics.set(metric.name, { name: metric.name, unit: metric.unit, kind, points });
  }
}

function spanOf(span: Json, resource: Readonly<Record<string, unknown>>): ReceivedSpan {
  return {
    traceId: span.traceId,
    spanId: span.spanId,
    parentSpanId: span.parentSpanId || null,
    name: span.name,
    kind: span.kind,
    attributes: attributesOf(span.attributes ?? []),
    links: (span.links ?? []).map(({ traceId, spanId }: Json) => ({ traceId, spanId })),
    statusCode: span.status?.code ?? 0,
    traceState: span.traceState ?? "",
    resource,
    durationNs: BigInt(span.endTimeUnixNano) - BigInt(span.startTimeUnixNano),
  };
}

function attributesOf(list: readonly Json[]): Record<string, unknown> {
  return Object.fromEntries(list.map(({ key, value }) => [key, Object.values(value)[0]]));
}
