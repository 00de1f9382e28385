import type { HttpRequest } from "./exchange.ts";
import type { HttpHandler } from "./handler.ts";
import type { HttpLimits } from "./limits.ts";
import type { ParsedRequest } from "./request.ts";
import type { ResponseWriter, WriterContext } from "./response-writer.ts";
import type { Turns } from "./turns.ts";

/** The part of Bun's socket that a connection uses. */
export interface ByteSocket {
  /** The client's address. */
  readonly remoteAddress: string;
  /** @returns the number of bytes accepted; fewer than given: `drain` follows. Negative = closed. */
  write(bytes: Buffer, offset: number, length: number): number;
  /** Sends FIN; the receiving direction stays open. */
  shutdown(): void;
  /** Closes both directions. */
  end(): void;
  /** Closes with RST. */
  terminate(): void;
  pause(): void;
  resume(): void;
}

/** The state that all connections of a server share. */
export interface ConnectionContext extends WriterContext {
  readonly limits: HttpLimits;
  /** Whether requests from pages of other sites, and requests for other hosts, are refused. */
  readonly refusesOtherSites: boolean;
  readonly handler: HttpHandler;
  /** Whether to read the body of a request; otherwise the handler gets the request without it, and refuses it. */
  readonly admits: (request: HttpRequest) => boolean;
  /** Of the clock that never goes back, as of the last sweep: at most one sweep interval behind. */
  readonly monotonicMs: number;
  /** Longest time that `monotonicMs` is behind. */
  readonly sweepIntervalMs: number;
  /** When idle connections are closed during a drain, by `monotonicMs`. */
  readonly drainIdleUntilMs: number;
  /** The request that the parser fills; code that keeps it puts another one in its place. */
  request: ParsedRequest;
  /** The turns of connections that send or receive much. */
  readonly turns: Turns;
  /** A pool of requests that were kept until their answer came. */
  readonly spareRequests: ParsedRequest[];
  /** The writer of all immediate answers; empty between events. */
  response: ResponseWriter;
  newTraceId(): string;
  onError(error: unknown, traceId: string): void;
}
