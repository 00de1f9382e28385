/**
 * Makes the spans of one thread.
 *
 * Whether a trace is sampled is decided before anything is made: a request that is not costs a look at its headers. The
 * span that a request is in follows its promises; who works for it further down asks for `active`.
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
  /** In [0, 1). */
  readonly random: () => number;
  /** How spans name keys. */
  readonly nameKey: (key: string) => string | null;
}

/** Spans of one request: the server's and the cache's. */
const SPANS_PER_REQUEST = 2;
/** Links of one span; a batch may have more parents. */
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

  /** The span that the calling code works for; null = it is not sampled. */
  get active(): Span | null {
    return this.#active.getStore() ?? null;
  }

  /** How a key may be named; null = not at all. */
  nameOf(key: string): string | null {
    return this.#options.nameKey(key);
  }

  /** Runs work, and what follows from its promises, as part of a span. */
  run<T>(span: Span, work: () => T): T {
    return this.#active.run(span, work);
  }

  /** Whether a request is to be traced. @param carrier see `trace-context.ts`; undefined = it brought nothing along */
  samples(carrier: string | undefined): boolean {
    const { sampler, queue, random } = this.#options;
    const remote = carrier === undefined || !sampler.isParentBased ? null : spanIdsOf(carrier);
    const isSampled = remote === null ? sampler.ratio > 0 && random() < sampler.ratio : remote.isSampled;
    if (!isSampled || !queue.isFull) return isSampled;
    queue.drop(SPANS_PER_REQUEST);
    return false;
  }

  /** The span of a request that is sampled. */
  startServer(name: string, carrier: string | undefined): Span {
    const remote = carrier === undefined ? null : spanIdsOf(carrier);
    return this.#start(name, SpanKind.SERVER, remote === null ? null : { ...remote, isRemote: true }, [], carrier);
  }

  /** A span within another. */
  startChild(parent: Span, name: string, kind = SpanKind.INTERNAL): Span {
    return this.#start(name, kind, { ...parent.ids, isRemote: false }, [], parent.carrier);
  }

  /** A call to somebody else within the active span; null = that is not sampled. */
  startClient(name: string): Span | null {
    const { active } = this;
    return active === null ? null : this.startChild(active, name, SpanKind.CLIENT);
  }

  /**
   * Work for requests of some time ago, by their carriers: a child of the one trace that it is for, or a trace of its
   * own with a link to each of them. Null where none of them is sampled.
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

  /** What is passed on to who is asked within a span. */
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
