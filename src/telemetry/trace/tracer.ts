/**
 * Creates the spans of one thread.
 *
 * The sampling decision comes before anything is allocated: an unsampled request only costs a look at its headers. The
 * span of a request follows its promises; code further down gets it as `active`.
 */

import { AsyncLocalStorage } from "node:async_hooks";
import { SpanKind } from "@opentelemetry/api";
import { Span, type SpanHome } from "./span.ts";
import { IdSource } from "./span-ids.ts";
import type { SpanQueue } from "./span-queue.ts";
import { carrierFrom, type SpanIds, spanIdsOf } from "./trace-context.ts";

export interface TracerOptions {
  readonly sampler: { readonly ratio: number; readonly isParentBased: boolean };
  readonly queue: SpanQueue;
  readonly resource: SpanHome["resource"];
  readonly scope: SpanHome["scope"];
  /** Ms since the Unix epoch, with fractions. */
  readonly nowMs: () => number;
  /** Returns a number in [0, 1). */
  readonly random: () => number;
  /** The text by which spans show a key; null = not at all. */
  readonly nameKey: (key: string) => string | null;
}

/** The spans of one request: the server's and the cache's. */
const SPANS_PER_REQUEST = 2;
/** The most links of one span; a batch may have more parents. */
const MOST_LINKS = 128;

export class Tracer {
  readonly #options: TracerOptions;
  readonly #ids = new IdSource();
  readonly #active = new AsyncLocalStorage<Span>();
  readonly #home: SpanHome;

  constructor(options: TracerOptions) {
    const { queue, resource, scope, nowMs } = options;
    this.#options = options;
    this.#home = { resource, scope, nowMs, ended: (span) => queue.add(span) };
  }

  /** The span of the calling code; null = not sampled. */
  get active(): Span | null {
    return this.#active.getStore() ?? null;
  }

  /** The text by which spans show a key; null = not at all. */
  nameOf(key: string): string | null {
    return this.#options.nameKey(key);
  }

  /** Runs `work`, and everything that follows from its promises, within a span. */
  run<T>(span: Span, work: () => T): T {
    return this.#active.run(span, work);
  }

  /**
   * Whether a request is sampled. @param carrier see `trace-context.ts`; undefined = the request has no trace context
   */
  samples(carrier: string | undefined): boolean {
    const { sampler, queue, random } = this.#options;
    const remote = carrier === undefined || !sampler.isParentBased ? null : spanIdsOf(carrier);
    const isSampled = remote === null ? sampler.ratio > 0 && random() < sampler.ratio : remote.isSampled;
    if (!isSampled || !queue.isFull) return isSampled;
    queue.drop(SPANS_PER_REQUEST);
    return false;
  }

  /** Starts the server span of a sampled request. */
  startServer(name: string, carrier: string | undefined): Span {
    const remote = carrier === undefined ? null : spanIdsOf(carrier);
    return this.#start(name, SpanKind.SERVER, remote === null ? null : { ...remote, isRemote: true }, [], carrier);
  }

  /** Starts a child span. */
  startChild(parent: Span, name: string, kind = SpanKind.INTERNAL): Span {
    return this.#start(name, kind, { ...parent.ids, isRemote: false }, [], parent.carrier);
  }

  /** Starts the span of an outgoing call within the active span; null = not sampled. */
  startClient(name: string): Span | null {
    const { active } = this;
    return active === null ? null : this.startChild(active, name, SpanKind.CLIENT);
  }

  /**
   * Starts a span for work that serves earlier requests, given by their carriers: a child if it serves one trace,
   * otherwise a trace of its own with a link to each. Null if none of them is sampled.
   */
  startLater(name: string, kind: SpanKind, carriers: readonly string[]): Span | null {
    const sampled = new Map<string, SpanIds>();
    let first: string | undefined;
    for (const carrier of carriers) {
      const ids = spanIdsOf(carrier);
      if (ids === null || !ids.isSampled || sampled.size === MOST_LINKS) continue;
      first ??= carrier;
      sampled.set(ids.spanId, ids);
    }
    const [parent, ...others] = sampled.values();
    if (parent === undefined) return null;
    if (this.#options.queue.isFull) {
      this.#options.queue.drop(1);
      return null;
    }
    if (others.every(({ traceId }) => traceId === parent.traceId)) {
      return this.#start(name, kind, { ...parent, isRemote: true }, others, first);
    }
    return this.#start(name, kind, null, [parent, ...others], undefined);
  }

  /** The trace context to propagate to calls made within a span. */
  carrierOf(span: Span): string {
    return carrierFrom(span.ids, span.carrier);
  }

  #start(
    ...[name, kind, parent, links, carrier]: [
      string,
      SpanKind,
      (SpanIds & { readonly isRemote: boolean }) | null,
      readonly SpanIds[],
      string | undefined,
    ]
  ): Span {
    const ids = { traceId: parent?.traceId ?? this.#ids.traceId(), spanId: this.#ids.spanId(), isSampled: true };
    return new Span(this.#home, { name, kind, ids, parent, links, carrier });
  }
}
