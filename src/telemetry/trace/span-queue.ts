import type { ReadableSpan, SpanExporter } from "@opentelemetry/sdk-trace-base";
import type { Span } from "./span.ts";

/** Counts the outcomes of spans. */
export interface SpanCounts {
  /** `dropped`: the queue was full. `failed`: the export failed. */
  addSpans(counts: { exported?: number; dropped?: number; failed?: number }): void;
}

export interface SpanQueueOptions {
  readonly exporter: Pick<SpanExporter, "export" | "shutdown">;
  /** The most spans that may wait. */
  readonly limit: number;
  /** The most spans in one request. */
  readonly batch: number;
  /** The longest time that a span waits for a full batch. */
  readonly delayMs: number;
  readonly counts: SpanCounts;
  readonly onFailure: (message: string) => void;
  readonly monotonicMs: () => number;
}

/** After a batch, the thread serves requests for this many times as long as the encoding of the batch took. */
const REST_FACTOR = 4;
const MIN_REST_MS = 1;

/**
 * A bounded queue of spans that wait for export; spans that do not fit are dropped and counted. One batch is in flight
 * at a time, and the thread serves requests between two batches.
 */
export class SpanQueue {
  #waiting: Span[] = [];
  #exporting: Promise<void> | null = null;
  #timer: ReturnType<typeof setTimeout> | null = null;
  #restUntilMs = 0;

  constructor(private readonly options: SpanQueueOptions) {}

  get isFull(): boolean {
    return this.#waiting.length >= this.options.limit;
  }

  /** Counts spans that were not created because the queue is full. */
  drop(count: number): void {
    this.options.counts.addSpans({ dropped: count });
  }

  add(span: Span): void {
    if (this.isFull) {
      this.drop(1);
      return;
    }
    this.#waiting.push(span);
    if (this.#waiting.length === this.options.batch) this.#scheduleIn(this.#restMs());
    else if (this.#timer === null && this.#exporting === null) this.#scheduleIn(this.options.delayMs);
  }

  /** Exports all waiting spans. */
  async flush(): Promise<void> {
    for (;;) {
      await this.#exporting;
      if (this.#waiting.length === 0) return;
      if (this.#exporting === null) void this.#exportBatch();
    }
  }

  /** Exports all waiting spans, and shuts the exporter down. */
  async close(): Promise<void> {
    await this.flush();
    if (this.#timer !== null) clearTimeout(this.#timer);
    await this.options.exporter.shutdown();
  }

  #restMs(): number {
    return Math.max(0, this.#restUntilMs - this.options.monotonicMs());
  }

  #scheduleIn(ms: number): void {
    if (this.#exporting !== null) return;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#timer = null;
      if (this.#exporting === null) void this.#exportBatch();
    }, ms);
    this.#timer.unref();
  }

  #exportBatch(): Promise<void> {
    const { batch } = this.options;
    const spans = this.#waiting.splice(0, batch);
    if (spans.length === 0) return Promise.resolve();
    this.#exporting = this.#send(spans).then(() => {
      this.#exporting = null;
      if (this.#waiting.length >= batch) this.#scheduleIn(this.#restMs());
      else if (this.#waiting.length > 0) this.#scheduleIn(this.options.delayMs);
    });
    return this.#exporting;
  }

  #send(spans: ReadableSpan[]): Promise<void> {
    const { exporter, counts, onFailure, monotonicMs } = this.options;
    return new Promise((resolve) => {
      const startedMs = monotonicMs();
      exporter.export(spans, ({ code, error }) => {
        if (code === 0) counts.addSpans({ exported: spans.length });
        else {
          counts.addSpans({ failed: spans.length });
          onFailure(`spans could not be exported: ${error?.message ?? "no reason is known"}`);
        }
        resolve();
      });
      const tookMs = monotonicMs() - startedMs;
      this.#restUntilMs = monotonicMs() + Math.max(MIN_REST_MS, REST_FACTOR * tookMs);
    });
  }
}
