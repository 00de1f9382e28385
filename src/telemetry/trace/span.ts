import type { Attributes, HrTime, Link, SpanContext, SpanStatus } from "@opentelemetry/api";
import { createTraceState, type SpanKind, SpanStatusCode, TraceFlags } from "@opentelemetry/api";
import type { Resource } from "@opentelemetry/resources";
import type { ReadableSpan } from "@opentelemetry/sdk-trace-base";
import { type SpanIds, tracestateOf } from "./trace-context.ts";

export type AttributeValue = string | number | boolean;

/** The environment that all spans of a thread share. */
export interface SpanHome {
  readonly resource: Resource;
  readonly scope: ReadableSpan["instrumentationScope"];
  /** Ms since the Unix epoch, with fractions, of a monotonic clock. */
  nowMs(): number;
  /** Called with each span when it has ended. */
  ended(span: Span): void;
}

export interface SpanStart {
  readonly name: string;
  readonly kind: SpanKind;
  readonly ids: SpanIds;
  readonly parent: (SpanIds & { readonly isRemote: boolean }) | null;
  readonly links: readonly SpanIds[];
  /** The context that the trace came with, for propagation: see `trace-context.ts`. */
  readonly carrier: string | undefined;
}

const MS_PER_S = 1_000;
const NS_PER_MS = 1_000_000;

/** A recorded span, created only for sampled requests, in the form that OpenTelemetry's exporters read. */
export class Span implements ReadableSpan {
  name: string;
  readonly kind: SpanKind;
  readonly ids: SpanIds;
  /** See `SpanStart`. */
  readonly carrier: string | undefined;
  readonly attributes: Attributes = {};
  readonly links: Link[];
  readonly events = [];
  readonly droppedAttributesCount = 0;
  readonly droppedEventsCount = 0;
  readonly droppedLinksCount = 0;
  readonly parentSpanContext?: SpanContext;
  status: SpanStatus = { code: SpanStatusCode.UNSET };
  ended = false;
  readonly #home: SpanHome;
  readonly #startMs: number;
  #endMs = 0;

  constructor(home: SpanHome, { name, kind, ids, parent, links, carrier }: SpanStart) {
    this.#home = home;
    this.#startMs = home.nowMs();
    this.name = name;
    this.kind = kind;
    this.ids = ids;
    this.carrier = carrier;
    this.links = links.map((link) => ({ context: contextOf(link, true) }));
    if (parent !== null) this.parentSpanContext = contextOf(parent, parent.isRemote);
  }

  get resource(): Resource {
    return this.#home.resource;
  }

  get instrumentationScope(): ReadableSpan["instrumentationScope"] {
    return this.#home.scope;
  }

  get startTime(): HrTime {
    return hrTime(this.#startMs);
  }

  get endTime(): HrTime {
    return hrTime(this.#endMs);
  }

  get duration(): HrTime {
    return hrTime(this.#endMs - this.#startMs);
  }

  spanContext(): SpanContext {
    const state = tracestateOf(this.carrier);
    const context = contextOf(this.ids, false);
    return state === "" ? context : { ...context, traceState: createTraceState(state) };
  }

  set(name: string, value: AttributeValue): this {
    this.attributes[name] = value;
    return this;
  }

  /** @param type one of a small set, such as an error code */
  fail(type: string, message = ""): void {
    this.attributes["error.type"] = type;
    this.status = message === "" ? { code: SpanStatusCode.ERROR } : { code: SpanStatusCode.ERROR, message };
  }

  end(): void {
    if (this.ended) return;
    this.ended = true;
    this.#endMs = this.#home.nowMs();
    this.#home.ended(this);
  }
}

function contextOf({ traceId, spanId, isSampled }: SpanIds, isRemote: boolean): SpanContext {
  return { traceId, spanId, isRemote, traceFlags: isSampled ? TraceFlags.SAMPLED : TraceFlags.NONE };
}

function hrTime(ms: number): HrTime {
  const seconds = Math.floor(ms / MS_PER_S);
  return [seconds, Math.round((ms - seconds * MS_PER_S) * NS_PER_MS)];
}
