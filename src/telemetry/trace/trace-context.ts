/**
 * W3C Trace Context and Baggage: the context of incoming requests, and its propagation.
 *
 * Internally one text, the carrier, holds the whole context (in messages, in the outbox and between peers): the
 * traceparent, then tracestate and baggage if present, each after a line break.
 */

export interface SpanIds {
  /** 32 hexadecimal digits, in lower case. */
  readonly traceId: string;
  /** 16 hexadecimal digits, in lower case. */
  readonly spanId: string;
  readonly isSampled: boolean;
}

const TRACEPARENT = /^(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?$/;
/** Longer values are not propagated: the specification demands 512 characters of tracestate. */
const MAX_STATE_LENGTH = 512;
const MAX_BAGGAGE_LENGTH = 2_048;
/** A header value that can be propagated: no line breaks, only ASCII. */
const PASSABLE = /^[\x20-\x7e]*$/;

/** Null if the text is invalid. */
export function parseTraceparent(text: string): SpanIds | null {
  const match = TRACEPARENT.exec(text);
  const [, traceId, spanId, flags] = match ?? [];
  if (traceId === undefined || spanId === undefined || flags === undefined) return null;
  return { traceId, spanId, isSampled: (Number.parseInt(flags, 16) & 1) === 1 };
}

function traceparentOf({ traceId, spanId, isSampled }: SpanIds): string {
  return `00-${traceId}-${spanId}-${isSampled ? "01" : "00"}`;
}

/** The carrier of a context; undefined if there is nothing to propagate. */
export function carrierOf(
  traceparent: string | null,
  tracestate: string | null,
  baggage: string | null,
): string | undefined {
  const parent = traceparent !== null && parseTraceparent(traceparent) !== null ? traceparent : "";
  const state = parent === "" ? "" : passable(tracestate, MAX_STATE_LENGTH);
  const bag = passable(baggage, MAX_BAGGAGE_LENGTH);
  if (bag !== "") return `${parent}\n${state}\n${bag}`;
  if (state !== "") return `${parent}\n${state}`;
  return parent === "" ? undefined : parent;
}

/** The same context with `span` as the parent. */
export function carrierFrom(span: SpanIds, carrier: string | undefined): string {
  const rest = carrier?.indexOf("\n") ?? -1;
  return traceparentOf(span) + (carrier === undefined || rest < 0 ? "" : carrier.slice(rest));
}

/** Null if the carrier has no valid traceparent. */
export function spanIdsOf(carrier: string): SpanIds | null {
  return parseTraceparent(carrier.split("\n", 1)[0] ?? "");
}

export function tracestateOf(carrier: string | undefined): string {
  return carrier?.split("\n", 3)[1] ?? "";
}

/** The HTTP headers that propagate a context. */
export function traceHeaders(carrier: string | undefined): Record<string, string> {
  const [traceparent = "", tracestate = "", baggage = ""] = carrier?.split("\n", 3) ?? [];
  return {
    ...(traceparent === "" ? {} : { traceparent }),
    ...(tracestate === "" ? {} : { tracestate }),
    ...(baggage === "" ? {} : { baggage }),
  };
}

function passable(text: string | null, mostLength: number): string {
  return text !== null && text.length <= mostLength && PASSABLE.test(text) ? text : "";
}
