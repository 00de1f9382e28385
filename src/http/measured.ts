import { OPERATION_NAMES, Operation } from "../telemetry/operations.ts";
import type { RequestCounts } from "../telemetry/request-counts.ts";
import type { Span } from "../telemetry/trace/span.ts";
import type { Tracer } from "../telemetry/trace/tracer.ts";
import type { Answer, HttpHandler, HttpRequest, HttpResponse } from "./exchange.ts";
import { type AnswerObserver, LateAnswer } from "./late-answer.ts";
import { carrierIn } from "./mutation-context.ts";

/** What a handler has to tell for its requests to be counted. */
export interface Countable {
  handle(request: HttpRequest, response: HttpResponse): Answer;
  /** Of the request that was handed over last. */
  readonly operation: Operation;
  /** The template of its path; empty = there is nothing at it. */
  readonly route: string;
}

export interface MeasureOptions {
  readonly counts: RequestCounts;
  /** Null = no spans are made. */
  readonly tracer: Tracer | null;
  /** Of a clock that never goes back, in ms. */
  readonly monotonicMs: () => number;
  readonly engineName: string;
}

const BUG_STATUS = 500;
const METHODS = /^(GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS|CONNECT|TRACE)$/;

/** Counts requests by operation and result, with the time from the whole request to the whole answer; traces some. */
export function measured(api: Countable, options: MeasureOptions): HttpHandler {
  const measure = new Measure(api, options);
  const { tracer } = options;
  if (tracer === null) return (request, response) => measure.count(request, response, null);
  return (request, response) => {
    const isSampled = tracer.samples(request.header("traceparent") ?? undefined);
    return isSampled ? measure.trace(tracer, request, response) : measure.count(request, response, null);
  };
}

/** The spans of one request: that of the server, and within it that of the cache. */
interface Spans {
  readonly server: Span;
  readonly cache: Span;
}

class Measure implements AnswerObserver {
  constructor(
    private readonly api: Countable,
    private readonly options: MeasureOptions,
  ) {}

  count(request: HttpRequest, response: HttpResponse, spans: Spans | null): Answer {
    const { api } = this;
    const startedMs = this.options.monotonicMs();
    let answer: Answer;
    try {
      answer = api.handle(request, response);
    } catch (error) {
      this.finish(api.operation, BUG_STATUS, false, startedMs, spans);
      throw error;
    } finally {
      if (spans !== null) this.describe(spans, request);
    }
    if (answer instanceof Promise) return this.later(answer, api.operation, response, startedMs, spans);
    if (answer instanceof LateAnswer) {
      answer.observer = this;
      answer.observedAs = api.operation;
      answer.observedFromMs = startedMs;
      return answer;
    }
    this.finish(api.operation, response.status, response.wasLoaded, startedMs, spans);
  }

  /** Of answers without spans: the others come by a promise. */
  answered({ observedAs, observedFromMs }: LateAnswer, { status, wasLoaded }: HttpResponse): void {
    this.finish(observedAs, status, wasLoaded, observedFromMs, null);
  }

  trace(tracer: Tracer, request: HttpRequest, response: HttpResponse): Answer {
    const server = tracer.startServer("HTTP", carrierIn(request));
    const cache = tracer.startChild(server, "cache");
    return tracer.run(cache, () => this.count(request, response, { server, cache }));
  }

  private async later(
    ...[answer, operation, response, startedMs, spans]: [Promise<void>, Operation, HttpResponse, number, Spans | null]
  ): Promise<void> {
    let status = BUG_STATUS;
    try {
      await answer;
      status = response.status;
    } finally {
      this.finish(operation, status, response.wasLoaded, startedMs, spans);
    }
  }

  /** What only the request at hand can tell. */
  private describe({ server, cache }: Spans, request: HttpRequest): void {
    const { operation, route } = this.api;
    const isKnown = METHODS.test(request.method);
    const method = isKnown ? request.method : "_OTHER";
    server.name = route === "" ? (isKnown ? method : "HTTP") : `${method} ${route}`;
    server.set("http.request.method", method).set("url.scheme", "http").set("network.protocol.name", "http");
    // The path itself would show the key.
    if (route !== "") server.set("http.route", route).set("url.path", route);
    const userAgent = request.header("user-agent");
    if (userAgent !== null) server.set("user_agent.original", userAgent);
    cache.name = `cache.${OPERATION_NAMES[operation]}`;
    cache.set("cache.engine", this.options.engineName);
  }

  private finish(
    ...[operation, status, wasLoaded, startedMs, spans]: [Operation, number, boolean, number, Spans | null]
  ): void {
    const { counts, monotonicMs } = this.options;
    const tookMs = monotonicMs() - startedMs;
    counts.add(operation, status, wasLoaded, tookMs);
    if (spans === null) return;
    const { server, cache } = spans;
    // Who asks for /metrics or /healthz every few seconds wants no traces of it, unless he says so.
    if (operation === Operation.Other && server.parentSpanContext === undefined) return;
    cache.end();
    server.set("http.response.status_code", status);
    if (status >= BUG_STATUS) server.fail(String(status));
    server.end();
    const { traceId, spanId } = server.ids;
    counts.addExemplar(operation, status, wasLoaded, { traceId, spanId, seconds: tookMs / 1000, unixMs: Date.now() });
  }
}
