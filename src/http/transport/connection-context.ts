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
  /** @returns how many bytes were taken; fewer than given: `drain` follows. Negative = closed. */
  write(bytes: Buffer, offset: number, length: number): number;
  /** Sends FIN; what the other side sends is still read. */
  shutdown(): void;
  /** Closes both directions. */
  end(): void;
  /** Closes with RST. */
  terminate(): void;
  pause(): void;
  resume(): void;
}

/** What all connections of a server share. */
export interface ConnectionContext extends WriterContext {
  readonly limits: HttpLimits;
  /** Requests of pages of other sites are refused, and those for another host. */
  readonly refusesOtherSites: boolean;
  readonly handler: HttpHandler;
  /** Whether the body of a request is to be read; if not, the handler gets the request without it, and refuses. */
  readonly admits: (request: HttpRequest) => boolean;
  /** Ms since the Unix epoch, as of the last sweep: at most one sweep interval behind. */
  readonly nowMs: number;
  /** Longest time that `nowMs` is behind. */
  readonly sweepIntervalMs: number;
  /** When idle connections are closed during a drain, in ms since the Unix epoch. */
  readonly drainIdleUntilMs: number;
  /** The request that is parsed into; whoever has to keep it puts another in its place. */
  request: ParsedRequest;
  /** Of those that send or get much. */
  readonly turns: Turns;
  /** Requests that were put aside until their answer came, to be used again. */
  readonly spareRequests: ParsedRequest[];
  /** The writer of all answers that are given at once; empty between events. */
  response: ResponseWriter;
  newTraceId(): string;
  onError(error: unknown, traceId: string): void;
}
