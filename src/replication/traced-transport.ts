import { SpanKind } from "@opentelemetry/api";
import { traceHeaders } from "../telemetry/trace/trace-context.ts";
import type { Tracer } from "../telemetry/trace/tracer.ts";
import type { PeerAddress, PeerRequest, PeerResponse, Transport } from "./transport.ts";

/**
 * Propagates the trace contexts of mutations to peers, and makes a span of each call that carries a sampled one: for a
 * batch of several traces, a span with a link to each.
 */
export class TracedTransport implements Transport {
  constructor(
    private readonly transport: Transport,
    /** Null = contexts are propagated without spans. */
    private readonly tracer: Tracer | null,
  ) {}

  async call(peer: PeerAddress, request: PeerRequest): Promise<PeerResponse> {
    const { tracer } = this;
    const carriers = (request.traceparents ?? []).filter((carrier) => carrier !== undefined);
    const span = tracer?.startLater(request.method, SpanKind.CLIENT, carriers) ?? null;
    const carrier = tracer === null || span === null ? carriers[0] : tracer.carrierOf(span);
    const headers = { ...request.headers, ...traceHeaders(carrier) };
    if (span === null) return this.transport.call(peer, { ...request, headers });
    const { hostname, port } = new URL(peer.url);
    span.set("http.request.method", request.method).set("server.address", hostname);
    if (port !== "") span.set("server.port", Number(port));
    if (carriers.length > 1) span.set("servcache.mutations", carriers.length);
    try {
      const response = await this.transport.call(peer, { ...request, headers });
      span.set("http.response.status_code", response.status);
      if (response.status >= 400) span.fail(String(response.status));
      return response;
    } catch (error) {
      span.fail(error instanceof Error ? error.name : "error");
      throw error;
    } finally {
      span.end();
    }
  }
}
