import { OPERATION_NAMES, Operation } from "../../telemetry/operations.ts";
import type { RequestCounts } from "../../telemetry/request-counts.ts";
import type { Span } from "../../telemetry/trace/span.ts";
import type { Tracer } from "../../telemetry/trace/tracer.ts";
import type { HttpRequest, HttpResponse } from "../transport/exchange.ts";
import type { Answer, HttpHandler } from "../transport/handler.ts";
import { type AnswerObserver, LateAnswer } from "../transport/late-answer.ts";
import { carrierIn } from "./mutation-context.ts";

/** The facts about a request that its count needs. */
export interface Countable {
  handle(request: HttpRequest, response: HttpResponse): Answer;
  /** The operation of the last request. */
  readonly operation: Operation;
  /** The path template of the last request; empty = unknown path. */
  readonly route: string;
}

export interface MeasureOptions {
  readonly counts: RequestCounts;
  /** Null = no spans. */
  readonly tracer: Tracer | null;
  /** A monotonic clock, in ms. */
  readonly monotonicMs: () => number;
  readonly engineName: string;
}

const BUG_STATUS = 500;
const METHODS = /^(GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS|CONNECT|TRACE)$/;

/**
 * Counts requests by operation and result, with the time from the complete request to the complete answer; traces
 * sampled ones.
 */
export function measured(api: Countable, options: MeasureOptions): HttpHandler {
  const { tracer } = options;
  if (tracer === null) return counted(api, options);
  const count = counted(api, options);
  const traces = new Traces(api, options, tracer);
  return (request, response) => {
    const isSampled = tracer.samples(request.header("traceparent") ?? undefined);
    return isSampled ? traces.handle(request, response) : count(request, response);
  };
}

/** The path of nearly all requests; it adds two reads of the clock and a few numbers. */
function counted(api: Countable, { counts, monotonicMs }: MeasureOptions): HttpHandler {
  const late = new LateCounter(counts, monotonicMs);
  return (request, response) => {
    const startedMs = monotonicMs();
    let answer: Answer;
    try {
      answer = api.handle(request, response);
    } catch (error) {
      counts.add(api.operation, BUG_STATUS, false, monotonicMs() - startedMs);
      throw error;
    }
    if (answer instanceof Promise)
      return countLater(api.operation, answer, { response, startedMs, counts, monotonicMs });
    if (answer instanceof LateAnswer) {
      answer.observer = late;
      answer.observedAs = api.operation;
      answer.observedFromMs = startedMs;
      return answer;
    }
    counts.add(api.operation, response.status, response.wasLoaded, monotonicMs() - startedMs);
  };
}

/** Counts late answers without a promise. */
class LateCounter implements AnswerObserver {
  constructor(
    private readonly counts: RequestCounts,
    private readonly monotonicMs: () => number,
  ) {}

  answered({ observedAs, observedFromMs }: LateAnswer, { status, wasLoaded }: HttpResponse): void {
    this.counts.add(observedAs, status, wasLoaded, this.monotonicMs() - observedFromMs);
  }
}

/** Separate from the path above, because a closure allocates for each call. */
function countLater(
  operation: Operation,
  answer: Promise<void>,
  {
    response,
    startedMs,
    counts,
    monotonicMs,
  }: Pick<MeasureOptions, "counts" | "monotonicMs"> & {
    readonly response: HttpResponse;
    readonly startedMs: number;
  },
): Promise<void> {
  return settled(answer, response, (status) => {
    counts.add(operation, status, response.wasLoaded, monotonicMs() - startedMs);
  });
}

async function settled(answer: Promise<void>, response: HttpResponse, then: (status: number) => void): Promise<void> {
  let status = BUG_STATUS;
  try {
    await answer;
    status = response.status;
  } finally {
    then(status);
  }
}

/** The spans of one request: the server span, and within it that of the cache. */
interface Spans {
  readonly server: Span;
  readonly cache: Span;
}

/** Handles sampled requests. */
class Traces {
  constructor(
    private readonly api: Countable,
    private readonly options: MeasureOptions,
    private readonly tracer: Tracer,
  ) {}

  handle(request: HttpRequest, response: HttpResponse): Answer {
    const { tracer } = this;
    const server = tracer.startServer("HTTP", carrierIn(request));
    const spans = { server, cache: tracer.startChild(server, "cache") };
    const startedMs = this.options.monotonicMs();
    return tracer.run(spans.cache, () => this.follow(request, response, spans, startedMs));
  }

  private follow(request: HttpRequest, response: HttpResponse, spans: Spans, startedMs: number): Answer {
    const { api } = this;
    let answer: Answer;
    try {
      answer = api.handle(request, response);
    } catch (error) {
      this.describe(spans, request);
      this.finish(spans, api.operation, BUG_STATUS, response, startedMs);
      throw error;
    }
    this.describe(spans, request);
    const { operation } = api;
    if (!(answer instanceof Promise)) {
      this.finish(spans, operation, response.status, response, startedMs);
      return answer;
    }
    return settled(answer, response, (late) => this.finish(spans, operation, late, response, startedMs));
  }

  /** Adds the attributes that are known only from the request. */
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
    ...[{ server, cache }, operation, status, { wasLoaded }, startedMs]: [
      Spans,
      Operation,
      number,
      HttpResponse,
      number,
    ]
  ): void {
    const { counts, monotonicMs } = this.options;
    const tookMs = monotonicMs() - startedMs;
    counts.add(operation, status, wasLoaded, tookMs);
    // Periodic requests of /metrics or /healthz are not traced, unless the request has a trace context.
    if (operation === Operation.Other && server.parentSpanContext === undefined) return;
    cache.end();
    server.set("http.response.status_code", status);
    if (status >= BUG_STATUS) server.fail(String(status));
    server.end();
    const { traceId, spanId } = server.ids;
    counts.addExemplar(operation, status, wasLoaded, { traceId, spanId, seconds: tookMs / 1000, unixMs: Date.now() });
  }
}
