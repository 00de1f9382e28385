/**
 * W3C Trace Context and Baggage: what a request brings along, and what goes on to others.
 *
 * Inside, one text carries it all (through messages, the outbox, to the peers): the traceparent, and behind it, each
 * after a line break, tracestate and baggage where there are any.
 */

export interface SpanIds {
  /** 32 hexadecimal digits, in lower case. */
  readonly traceId: string;
  /** 16 hexadecimal digits, in lower case. */
  readonly spanId: string;
  readonly isSampled: boolean;
}

const TRACEPARENT = /^(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?$/;
/** What is longer is not passed on: the specification asks for 512 characters of tracestate. */
const MAX_STATE_LENGTH = 512;
const MAX_BAGGAGE_LENGTH = 2_048;
/** Of a header's value: no line breaks, nothing beyond ASCII. */
const PASSABLE = /^[\x20-\x7e]*$/;

/** Null where it is not valid. */
export function parseTraceparent(text: string): SpanIds | null {
  const match = TRACEPARENT.exec(text);
  const [, traceId, spanId, flags] = match ?? [];
  if (traceId === undefined || spanId === undefined || flags === undefined) return null;
  return { traceId, spanId, isSampled: (Number.parseInt(flags, 16) & 1) === 1 };
}

function traceparentOf({ traceId, spanId, isSampled }: SpanIds): string {
  return `00-${traceId}-${spanId}-${isSampled ? "01" : "00"}`;
}

/** The text that carries a context. Undefined where there is nothing to be carried on. */
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

/** The same context, seen from a span that was made in it. */
export function carrierFrom(span: SpanIds, carrier: string | undefined): string {
  const rest = carrier?.indexOf("\n") ?? -1;
  return traceparentOf(span) + (carrier === undefined || rest < 0 ? "" : carrier.slice(rest));
}

/** Null where the carrier holds none. */
export function spanIdsOf(carrier: string): SpanIds | null {
  return parseTraceparent(carrier.split("\n", 1)[0] ?? "");
}

export function tracestateOf(carrier: string | undefined): string {
  return carrier?.split("\n", 3)[1] ?? "";
}

/** The headers that pass a context on over HTTP. */
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
