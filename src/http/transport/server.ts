import type { Socket, TCPSocketListener } from "bun";
import { ByteBudget } from "../../runtime/byte-budget.ts";
import type { Clock } from "../../runtime/scheduler.ts";
import { Connection } from "./connection.ts";
import type { ConnectionContext } from "./connection-context.ts";
import { randomTraceId } from "./error-body.ts";
import type { HttpRequest } from "./exchange.ts";
import type { HttpHandler } from "./handler.ts";
import { DEFAULT_HTTP_LIMITS, type HttpLimits, MAX_HEADERS } from "./limits.ts";
import { ListenError } from "./listen-error.ts";
import { ParsedRequest } from "./request.ts";
import { ResponseHead } from "./response-head.ts";
import { ResponseWriter } from "./response-writer.ts";
import { Turns } from "./turns.ts";

export interface HttpServerOptions {
  readonly hostname: string;
  /** 0 = any free port. */
  readonly port: number;
  /** Whether several threads listen on one port; the kernel distributes the connections. */
  readonly reusePort?: boolean;
  readonly handler: HttpHandler;
  /** Default: every body is read. See `ConnectionContext.admits`. */
  readonly admits?: (request: HttpRequest) => boolean;
  /**
   * Whether requests of browsers for pages of other sites, or for other hosts, are answered with 403 `ERR_CROSS_SITE`.
   */
  readonly refusesOtherSites?: boolean;
  readonly limits?: Partial<HttpLimits>;
  /** The budget for bodies and answers, shared with other holders; default: 256 MiB for this server. */
  readonly budget?: ByteBudget;
  readonly clock: Clock;
  /** Called with everything that a handler throws or rejects with. */
  readonly onError: (error: unknown, traceId: string) => void;
  readonly newTraceId?: () => string;
  /** Interval in which time limits are checked: they hold to within two of these, never early. Default 1000 ms. */
  readonly sweepIntervalMs?: number;
}

export interface HttpServer {
  readonly port: number;
  /** Open connections. */
  readonly connections: number;
  /** Checks all time limits now. */
  sweep(): void;
  /**
   * Stops accepting, lets requests in flight finish, answers them with `Connection: close`. Idle connections are kept
   * for `drainLingerMs`; after `graceMs` all remaining ones are cut. Settles when no connection is left.
   */
  drain(graceMs: number): Promise<void>;
  /** Cuts everything at once. */
  stop(): void;
}

const DEFAULT_BUDGET_BYTES = 256 * 1024 ** 2;

const SWEEP_INTERVAL_MS = 1000;
const DRAIN_SWEEP_INTERVAL_MS = 25;

const LEAST_SURPLUS = 8;
const MOST_SURPLUS = 100;
const SURPLUS_SHARE = 0.1;

/** How many connections above the limit are answered with 503; further ones are closed without an answer. */
export function surplusOf(connections: number): number {
  return Math.min(MOST_SURPLUS, Math.max(LEAST_SURPLUS, Math.ceil(connections * SURPLUS_SHARE)));
}

/**
 * Serves HTTP/1.1 on one thread.
 *
 * @throws ListenError if it can't listen on the address
 */
export function startHttpServer(options: HttpServerOptions): HttpServer {
  return new BunHttpServer(options);
}

class BunHttpServer implements HttpServer, ConnectionContext {
  readonly limits: HttpLimits;
  readonly refusesOtherSites: boolean;
  readonly handler: HttpHandler;
  readonly admits: (request: HttpRequest) => boolean;
  readonly budget: ByteBudget;
  readonly head = new ResponseHead();
  readonly newTraceId: () => string;
  readonly onError: (error: unknown, traceId: string) => void;
  request = new ParsedRequest();
  readonly turns = new Turns(setImmediate);
  readonly spareRequests: ParsedRequest[] = [];
  response: ResponseWriter;
  monotonicMs: number;
  sweepIntervalMs: number;
  draining = false;
  drainIdleUntilMs = Number.POSITIVE_INFINITY;

  private readonly open = new Set<Socket<Connection>>();
  private readonly clock: Clock;
  private readonly listener: TCPSocketListener<Connection>;
  private sweeper: ReturnType<typeof setInterval>;
  private drainUntilMs = Number.POSITIVE_INFINITY;
  private readonly drained = Promise.withResolvers<void>();

  constructor(options: HttpServerOptions) {
    this.limits = { ...DEFAULT_HTTP_LIMITS, ...options.limits };
    if (this.limits.headers > MAX_HEADERS) throw new RangeError(`limits.headers must be at most ${MAX_HEADERS}`);
    this.handler = options.handler;
    this.admits = options.admits ?? (() => true);
    this.budget = options.budget ?? ByteBudget.create(DEFAULT_BUDGET_BYTES);
    this.refusesOtherSites = options.refusesOtherSites ?? false;
    this.newTraceId = options.newTraceId ?? randomTraceId;
    this.onError = options.onError;
    this.clock = options.clock;
    this.monotonicMs = options.clock.monotonicMs();
    this.head.setTime(options.clock.nowMs());
    this.response = new ResponseWriter(this);
    this.sweepIntervalMs = options.sweepIntervalMs ?? SWEEP_INTERVAL_MS;
    this.listener = listen(options, this.handlers());
    this.sweeper = setInterval(() => this.sweep(), this.sweepIntervalMs);
  }

  get port(): number {
    return this.listener.port;
  }

  get connections(): number {
    return this.open.size;
  }

  sweep(): void {
    this.monotonicMs = this.clock.monotonicMs();
    this.head.setTime(this.clock.nowMs());
    const graceIsOver = this.monotonicMs >= this.drainUntilMs;
    for (const socket of this.open) {
      if (graceIsOver) socket.terminate();
      else socket.data.sweep();
    }
  }

  drain(graceMs: number): Promise<void> {
    if (!this.draining) this.beginDrain(graceMs);
    return this.drained.promise;
  }

  stop(): void {
    this.listener.stop(true);
    clearInterval(this.sweeper);
    for (const socket of this.open) socket.terminate();
  }

  private beginDrain(graceMs: number): void {
    this.draining = true;
    this.listener.stop(false);
    const nowMs = this.clock.monotonicMs();
    this.drainUntilMs = nowMs + graceMs;
    this.drainIdleUntilMs = nowMs + Math.min(graceMs, this.limits.drainLingerMs);
    clearInterval(this.sweeper);
    this.sweeper = setInterval(() => this.sweep(), DRAIN_SWEEP_INTERVAL_MS);
    this.finishDrain();
  }

  private finishDrain(): void {
    if (!this.draining || this.open.size > 0) return;
    clearInterval(this.sweeper);
    this.drained.resolve();
  }

  private handlers(): Bun.SocketHandler<Connection> {
    return {
      open: (socket) => this.accept(socket),
      data: (socket, chunk) => socket.data.onData(chunk),
      end: (socket) => socket.data.onEnd(),
      drain: (socket) => socket.data.onDrain(),
      close: (socket) => this.forget(socket),
      // Called when one of the callbacks above throws, which is a bug of this layer: only this connection is affected.
      error: (socket, error) => {
        this.onError(error, this.newTraceId());
        this.response.clear();
        socket.terminate();
      },
    };
  }

  private accept(socket: Socket<Connection>): void {
    socket.data = new Connection(socket, this);
    this.open.add(socket);
    if (this.open.size <= this.limits.connections) return;
    if (this.open.size > this.limits.connections + surplusOf(this.limits.connections)) socket.terminate();
    else socket.data.refuseForCount();
  }

  private forget(socket: Socket<Connection>): void {
    socket.data.onClose();
    this.open.delete(socket);
    this.finishDrain();
  }
}

function listen(options: HttpServerOptions, socket: Bun.SocketHandler<Connection>): TCPSocketListener<Connection> {
  const { hostname, port, reusePort = false } = options;
  try {
    // A variable, because the published types lack `reusePort`.
    const where = { hostname, port, reusePort, exclusive: !reusePort, allowHalfOpen: true, socket };
    return Bun.listen<Connection>(where);
  } catch (error) {
    throw new ListenError(codeOf(error), hostname, port, error);
  }
}

function codeOf(error: unknown): string {
  return error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : "EUNKNOWN";
}
