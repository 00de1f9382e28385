import { FROM_CLIENT, type MutationContext } from "../../cache/pipeline.ts";
import { carrierOf } from "../../telemetry/trace/trace-context.ts";
import type { Tracer } from "../../telemetry/trace/tracer.ts";
import type { HttpRequest } from "../transport/exchange.ts";
import { shortened } from "./body-members.ts";
import { invalid } from "./error-mapping.ts";
import { type PeerGate, requirePeer } from "./peer-routes.ts";
import type { Query } from "./query.ts";

const FROM_PEER: MutationContext = { isReplicated: true };

/**
 * The source of a mutation: `replicated=true` says that it was forwarded by a peer that runs the original ServCache
 * (Go). Throws `ApiError` for a bad query, even if only this value is unclear, because a client's mutation mistaken for
 * a peer's would never reach the database; and for a caller that is not a peer.
 */
export function contextOf(
  request: HttpRequest,
  query: Query,
  gate: PeerGate | null,
  tracer: Tracer | null,
): MutationContext {
  const isReplicated = request.queryStart >= 0 && isFromPeer(request, query, gate);
  const traceContext = carrierFor(request, tracer);
  if (traceContext === undefined) return isReplicated ? FROM_PEER : FROM_CLIENT;
  return { isReplicated, traceContext };
}

function isFromPeer(request: HttpRequest, query: Query, gate: PeerGate | null): boolean {
  const value = query.get("replicated");
  if (value === undefined || value === "false" || value === "0") return false;
  if (value !== "true" && value !== "1" && value !== "") {
    throw invalid("ERR_BAD_QUERY", `replicated is ${JSON.stringify(shortened(value))}: send true, or leave it out`);
  }
  requirePeer(request, gate);
  return true;
}

/** The trace context for calls made on behalf of a request: that of its own span, or the one that it came with. */
export function carrierFor(request: HttpRequest, tracer: Tracer | null): string | undefined {
  const span = tracer?.active ?? null;
  return tracer === null || span === null ? carrierIn(request) : tracer.carrierOf(span);
}

/** The trace context that a request came with, as a carrier: see `trace-context.ts`. */
export function carrierIn(request: HttpRequest): string | undefined {
  const traceparent = request.header("traceparent");
  if (traceparent === null) return undefined;
  return carrierOf(traceparent, request.header("tracestate"), request.header("baggage"));
}
