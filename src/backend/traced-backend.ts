import { SpanKind } from "@opentelemetry/api";
import type { Span } from "../telemetry/trace/span.ts";
import type { Tracer } from "../telemetry/trace/tracer.ts";
import type { Backend, BackendRow, CallOptions, LoadResult, RowResult } from "./backend.ts";

/** What spans say of a backend. */
export interface BackendPlace {
  /** Host and port; null = there is none (a file). */
  readonly address: { readonly host: string; readonly port: number | null } | null;
  readonly database: string | null;
  readonly table: string | null;
}

const SYSTEMS = { postgres: "postgresql", mysql: "mysql", sqlite: "sqlite" } as const;

/**
 * Makes one trace context of those that a call is for, and a span of each call where one of them is sampled: of a batch
 * for several traces, one with a link to each.
 */
export class TracedBackend implements Backend {
  constructor(
    private readonly backend: Backend,
    /** Null = contexts are passed on, and no spans made. */
    private readonly tracer: Tracer | null,
    private readonly place: BackendPlace,
  ) {}

  get name(): Backend["name"] {
    return this.backend.name;
  }

  get loadBatchKeys(): number {
    return this.backend.loadBatchKeys;
  }

  get problem(): string {
    return this.backend.problem;
  }

  keyProblem(key: string): string {
    return this.backend.keyProblem(key);
  }

  async load(keys: readonly string[], options: CallOptions): Promise<LoadResult[]> {
    const { call, span } = this.#begin(this.backend.name === "http" ? "GET" : "SELECT", keys.length, options);
    const results = await ending(span, this.backend.load(keys, call));
    const failure = results.find((result) => result.kind === "failed");
    if (failure !== undefined) span?.fail(failure.error.code, failure.error.message);
    span?.end();
    return results;
  }

  async write(rows: readonly BackendRow[], options: CallOptions): Promise<RowResult[]> {
    const { call, span } = this.#begin(this.#operationOf(rows), rows.length, options);
    const results = await ending(span, this.backend.write(rows, call));
    const failure = results.find((result) => result.kind === "retry");
    if (failure !== undefined) span?.fail(failure.error.code, failure.error.message);
    span?.end();
    return results;
  }

  check(options: CallOptions): Promise<void> {
    return this.backend.check(options);
  }

  close(): Promise<void> {
    return this.backend.close();
  }

  #operationOf(rows: readonly BackendRow[]): string {
    const isDelete = rows.every(({ kind }) => kind === "delete");
    if (this.backend.name === "http") return isDelete ? "DELETE" : "POST";
    return isDelete ? "DELETE" : "INSERT";
  }

  #begin(operation: string, count: number, options: CallOptions): { call: CallOptions; span: Span | null } {
    const carriers = (options.traceparents ?? []).filter((carrier) => carrier !== undefined);
    const { traceparents: _, ...call } = options;
    const { tracer } = this;
    const span = tracer?.startLater(operation, SpanKind.CLIENT, carriers) ?? null;
    if (tracer === null || span === null) return { call: { ...call, traceContext: carriers[0] }, span };
    this.#describe(span, operation, count);
    return { call: { ...call, traceContext: tracer.carrierOf(span) }, span };
  }

  #describe(span: Span, operation: string, count: number): void {
    const { address, database, table } = this.place;
    const { name } = this.backend;
    if (address !== null) span.set("server.address", address.host);
    if (address?.port != null) span.set("server.port", address.port);
    if (name === "http") {
      span.set("http.request.method", operation);
      return;
    }
    span.name = table === null ? operation : `${operation} ${table}`;
    span.set("db.system.name", SYSTEMS[name]).set("db.operation.name", operation);
    if (count > 1) span.set("db.operation.batch.size", count);
    if (table !== null) span.set("db.collection.name", table);
    if (database !== null) span.set("db.namespace", database);
  }
}

/** A backend throws for bugs only. */
async function ending<T>(span: Span | null, work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    span?.fail("bug", String(error));
    span?.end();
    throw error;
  }
}
