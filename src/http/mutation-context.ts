import { FROM_CLIENT, type MutationContext } from "../cache/cache.ts";
import { carrierOf } from "../telemetry/trace/trace-context.ts";
import type { Tracer } from "../telemetry/trace/tracer.ts";
import type { HttpRequest } from "./exchange.ts";
import { isFlagSet, queryOf } from "./query.ts";

const FROM_PEER: MutationContext = { isReplicated: true };

/**
 * Where a mutation comes from: `replicated=true` says that a peer of the original's kind sent it on. Throws `ApiError`
 * for a bad query.
 */
export function contextOf(request: HttpRequest, tracer: Tracer | null): MutationContext {
  const isReplicated = request.queryStart >= 0 && isFlagSet(queryOf(request), "replicated");
  const traceparent = carrierFor(request, tracer);
  if (traceparent === undefined) return isReplicated ? FROM_PEER : FROM_CLIENT;
  return { isReplicated, traceparent };
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
