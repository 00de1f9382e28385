import type { ByteBudget } from "../../runtime/byte-budget.ts";
import type { ThreadTelemetry } from "../../telemetry/node-telemetry.ts";
import { Operation } from "../../telemetry/operations.ts";
import { ApiError, sendError } from "../transport/api-error.ts";
import type { HttpRequest, HttpResponse } from "../transport/exchange.ts";
import type { Answer, HttpHandler } from "../transport/handler.ts";
import { NO_STORE } from "../transport/json-answer.ts";
import { BatchRoutes } from "./batch-routes.ts";
import { shortened } from "./body-members.ts";
import { EntryRoutes } from "./entry-routes.ts";
import { asApiError } from "./error-mapping.ts";
import { type Countable, measured } from "./measured.ts";
import { NodeRoutes, type NodeRoutesOptions } from "./node-routes.ts";
import { OutboxRoutes } from "./outbox-routes.ts";
import { type PeerGate, PeerRoutes } from "./peer-routes.ts";
import { parametersOf, type Query } from "./query.ts";

export interface ApiOptions extends NodeRoutesOptions {
  /** Decides who may send `replicated=true`; null = no peers, and anyone may. */
  readonly peerGate: PeerGate | null;
  /** The budget for bodies and answers; null = no budget. */
  readonly inFlight: ByteBudget | null;
  /**
   * Whether entries with a TTL are answered with `max-age`, so that caches in front serve them without revalidation.
   */
  readonly tellsMaxAge: boolean;
}

type Route = (request: HttpRequest, response: HttpResponse, query: Query) => Answer;
interface Call {
  readonly operation: Operation;
  readonly route: Route;
  /** The query parameters that the route accepts. */
  readonly parameters: readonly string[];
}
type Methods = Readonly<Record<string, Call>>;

const ENTRY_PATH = Buffer.from("/api/cache/");
const ENTRY_ROUTE = "/api/cache/{key}";
const VERSIONED_ENTRY_PATH = Buffer.from("/api/v1/cache/");
const ALL_METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";
const GET_PARAMETERS = ["raw"];

/** The REST surface of one thread: finds the route, and converts errors to answers in one place. */
export function createApi(options: ApiOptions): HttpHandler {
  const api = new Api(options);
  if (options.telemetry === null) return (request, response) => api.handle(request, response);
  return measured(api, {
    counts: options.telemetry.requests,
    tracer: options.telemetry.tracer,
    monotonicMs: () => performance.now(),
    engineName: options.cache.engineName,
  });
}

class Api implements Countable {
  operation = Operation.Other;
  route = "";
  private readonly telemetry: ThreadTelemetry | null;
  private readonly entries: EntryRoutes;
  private readonly routes: ReadonlyMap<string, Methods>;
  private readonly entryMethods: Methods;

  constructor(options: ApiOptions) {
    const entries = new EntryRoutes(options);
    const batch = new BatchRoutes(options);
    const node = new NodeRoutes(options);
    const outbox = new OutboxRoutes(options.upstream, options.nowMs);
    const peers = new PeerRoutes(options);
    this.telemetry = options.telemetry;
    this.entries = entries;
    this.entryMethods = {
      GET: on(Operation.Get, GET_PARAMETERS, (...exchange) => entries.get(...exchange)),
      HEAD: on(Operation.Head, GET_PARAMETERS, (...exchange) => entries.head(...exchange)),
      PUT: on(Operation.Put, ["ttl", "replicated"], (...exchange) => entries.put(...exchange)),
      PATCH: on(Operation.Patch, ["replicated"], (...exchange) => entries.patch(...exchange)),
      DELETE: on(Operation.Delete, ["replicated"], (...exchange) => entries.delete(...exchange)),
    };
    const get = (parameters: readonly string[], route: Route, operation = Operation.Other): Methods => ({
      GET: on(operation, parameters, route),
      HEAD: on(operation, parameters, route),
    });
    const ids = ["id", "all"];
    this.routes = new Map<string, Methods>([
      [
        "/api/cache",
        {
          POST: on(Operation.Put, ["replicated"], (...exchange) => entries.post(...exchange)),
          DELETE: on(Operation.Invalidate, ["pattern", "tag", "replicated"], (...exchange) =>
            entries.deleteMany(...exchange),
          ),
        },
      ],
      [
        "/api/cache/gossip-invalidate",
        {
          POST: on(Operation.Delete, ["key", "replicated"], (...exchange) => entries.gossipInvalidate(...exchange)),
        },
      ],
      [
        "/api/replication",
        { POST: on(Operation.Other, [], (request, response) => peers.replicate(request, response)) },
      ],
      ["/api/batch", { POST: on(Operation.Batch, ["replicated"], (...exchange) => batch.run(...exchange)) }],
      [
        "/api/keys",
        get(["pattern", "cursor", "limit"], (_, response, query) => entries.keys(query, response), Operation.Keys),
      ],
      [
        "/api/outbox/dead",
        {
          ...get(["cursor", "limit"], (_, response, query) => outbox.list(query, response)),
          POST: on(Operation.Other, ids, (_, response, query) => outbox.retry(query, response)),
          DELETE: on(Operation.Other, ids, (_, response, query) => outbox.drop(query, response)),
        },
      ],
      ["/api/stats", get([], (_, response) => node.stats(response))],
      ["/api/version", get([], (_, response) => node.version(response))],
      ["/health", get([], (_, response) => node.health(response))],
      ["/healthz", get([], (_, response) => node.alive(response))],
      ["/readyz", get([], (_, response) => node.ready(response))],
      ["/metrics", get([], (request, response) => node.metrics(request, response))],
    ]);
  }

  handle(request: HttpRequest, response: HttpResponse): Answer {
    try {
      const answer = this.dispatch(request, response);
      return answer instanceof Promise ? answer.catch((error) => this.sendError(request, response, error)) : answer;
    } catch (error) {
      this.sendError(request, response, error);
    }
  }

  private sendError(request: HttpRequest, response: HttpResponse, error: unknown): void {
    sendError(request, response, asApiError(error), this.telemetry?.tracer?.active?.ids.traceId ?? null);
  }

  private dispatch(request: HttpRequest, response: HttpResponse): Answer {
    this.operation = Operation.Other;
    this.route = ENTRY_ROUTE;
    const keyStart = entryKeyStart(request);
    if (keyStart >= 0 && !isGossip(request, keyStart)) {
      const isGet = request.method === "GET";
      if (isGet) this.operation = Operation.Get;
      this.entries.keyAt(request, keyStart, pathEnd(request));
      if (isGet) return this.entries.get(request, response, parametersOf(request, GET_PARAMETERS));
      return this.routed(this.entryMethods, request, response);
    }
    const path = request.buffer.latin1Slice(request.targetStart, pathEnd(request));
    this.route = path.startsWith("/api/v1/") ? `/api/${path.slice("/api/v1/".length)}` : path;
    if (request.method === "OPTIONS" && (path === "*" || path === "")) return allow(response, ALL_METHODS);
    const methods = this.routes.get(this.route);
    if (methods === undefined) {
      this.route = "";
      throw new ApiError(
        404,
        "ERR_UNKNOWN_PATH",
        `there is no resource at ${JSON.stringify(shortened(path))}: entries are at /api/cache/{key}`,
      );
    }
    return this.routed(methods, request, response);
  }

  private routed(methods: Methods, request: HttpRequest, response: HttpResponse): Answer {
    const found = Object.hasOwn(methods, request.method) ? methods[request.method] : undefined;
    if (found !== undefined) {
      this.operation = found.operation;
      return found.route(request, response, parametersOf(request, found.parameters));
    }
    const allowed = [...Object.keys(methods), "OPTIONS"].join(", ");
    if (request.method === "OPTIONS") return allow(response, allowed);
    const message = `${request.method} is not supported by this path: use one of ${allowed}`;
    throw new ApiError(405, "ERR_METHOD_NOT_ALLOWED", message, `Allow: ${allowed}\r\n`);
  }
}

function on(operation: Operation, parameters: readonly string[], route: Route): Call {
  return { operation, parameters, route };
}

function allow(response: HttpResponse, methods: string): void {
  response.sendHead(204, `Allow: ${methods}\r\n${NO_STORE}`, -1);
}

/** Where the key begins in the target; -1 = another path. */
function entryKeyStart(request: HttpRequest): number {
  if (startsWith(request, ENTRY_PATH)) return request.targetStart + ENTRY_PATH.length;
  if (startsWith(request, VERSIONED_ENTRY_PATH)) return request.targetStart + VERSIONED_ENTRY_PATH.length;
  return -1;
}

/** POST is not a method of entries, so after an entry path this name is not part of a key. */
function isGossip(request: HttpRequest, keyStart: number): boolean {
  return request.method === "POST" && request.buffer.latin1Slice(keyStart, pathEnd(request)) === "gossip-invalidate";
}

function startsWith(request: HttpRequest, path: Buffer): boolean {
  const { buffer, targetStart } = request;
  if (pathEnd(request) - targetStart < path.length) return false;
  for (let at = 0; at < path.length; at++) {
    if (buffer[targetStart + at] !== path[at]) return false;
  }
  return true;
}

function pathEnd(request: HttpRequest): number {
  return request.queryStart < 0 ? request.targetEnd : request.queryStart - 1;
}
