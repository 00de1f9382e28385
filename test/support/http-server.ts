import type { HttpRequest } from "../../src/http/transport/exchange.ts";
import type { HttpHandler } from "../../src/http/transport/handler.ts";
import type { HttpLimits } from "../../src/http/transport/limits.ts";
import { type HttpServer, type HttpServerOptions, startHttpServer } from "../../src/http/transport/server.ts";

export const TEST_TRACE_ID = "0123456789abcdef0123456789abcdef";

/** A server on a free port whose time stands still until `passTime`. */
export interface TestHttpServer extends HttpServer, Disposable {
  readonly errors: readonly { readonly error: unknown; readonly traceId: string }[];
  /** Lets time pass, and looks at the time limits. */
  passTime(ms: number): void;
  /** Sets the wall clock on (or back) by so much, and looks at the time limits. */
  setClock(ms: number): void;
}

export function startTestHttpServer(
  handler: HttpHandler,
  limits: Partial<HttpLimits> = {},
  more: Pick<HttpServerOptions, "admits" | "budget"> = {},
): TestHttpServer {
  let nowMs = Date.UTC(2026, 0, 1);
  let monotonicMs = 0;
  const errors: { error: unknown; traceId: string }[] = [];
  const server = startHttpServer({
    hostname: "127.0.0.1",
    port: 0,
    handler,
    limits,
    ...more,
    clock: { nowMs: () => nowMs, monotonicMs: () => monotonicMs },
    newTraceId: () => TEST_TRACE_ID,
    onError: (error, traceId) => errors.push({ error, traceId }),
  });
  return {
    errors,
    port: server.port,
    get connections() {
      return server.connections;
    },
    sweep: () => server.sweep(),
    drain: (graceMs) => server.drain(graceMs),
    stop: () => server.stop(),
    passTime(ms) {
      nowMs += ms;
      monotonicMs += ms;
      server.sweep();
    },
    setClock(ms) {
      nowMs += ms;
      server.sweep();
    },
    [Symbol.dispose]: () => server.stop(),
  };
}

export function targetOf(request: HttpRequest): string {
  return request.buffer.toString("latin1", request.targetStart, request.targetEnd);
}

export function bodyOf(request: HttpRequest): string {
  return request.body.toString("utf8", request.bodyStart, request.bodyEnd);
}

/** Answers with what it was asked, as `METHOD target body`. */
export const echo: HttpHandler = (request, response) => {
  response.sendText(200, "", `${request.method} ${targetOf(request)} ${bodyOf(request)}`);
};
