import { FROM_CLIENT, type MutationContext } from "../../cache/cache.ts";
import { carrierOf } from "../../telemetry/trace/trace-context.ts";
import type { Tracer } from "../../telemetry/trace/tracer.ts";
import type { HttpRequest } from "../transport/exchange.ts";
import { shortened } from "./body-members.ts";
import { invalid } from "./error-mapping.ts";
import { type PeerGate, requirePeer } from "./peer-routes.ts";
import type { Query } from "./query.ts";

const FROM_PEER: MutationContext = { isReplicated: true };

/**
 * Where a mutation comes from: `replicated=true` says that a peer of the original's kind sent it on. Throws `ApiError` for
 * a bad query: also where the value is unclear, because a client's mutation that is taken for a peer's reaches no
 * database; and where it comes from nobody of the peers.
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

/** The trace context that goes on to who is asked for a request: that of its own span, or the one that it brought. */
export function carrierFor(request: HttpRequest, tracer: Tracer | null): string | undefined {
  const span = tracer?.active ?? null;
  return tracer === null || span === null ? carrierIn(request) : tracer.carrierOf(span);
}

/** The trace context that a request brought along, as one text: see `trace-context.ts`. */
export function carrierIn(request: HttpRequest): string | undefined {
  const traceparent = request.header("traceparent");
  if (traceparent === null) return undefined;
  return carrierOf(traceparent, request.header("tracestate"), request.header("baggage"));
}
