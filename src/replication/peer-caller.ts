/** Calls one peer: adds the head of each message, sets a time limit, and classifies failures. */

import type { Mutation } from "../model/mutation.ts";
import { messageOf } from "../runtime/error-message.ts";
import type { Scheduler } from "../runtime/scheduler.ts";
import type { PeerAddress, PeerRequest, PeerResponse, Transport } from "./transport.ts";
import {
  decodeMessage,
  encodeMessage,
  type HeadMembers,
  MAX_MESSAGE_BYTES,
  type Message,
  type MessageKind,
} from "./wire/message.ts";

export const REPLICATION_PATH = "/api/replication";
export const MESSAGE_TYPE = "application/x-servcache-replication";

/** A message gets extra time for its size: at least 100 kB per second must get through. */
const SLOWEST_BYTES_PER_MS = 100;

/** Answers with entries may be as large as a message; all others contain a few numbers per mutation. */
const WITH_ENTRIES: ReadonlySet<MessageKind> = new Set(["page", "compare"]);
const ANSWER_BYTES = 256 * 1024;
const PLAIN_ANSWER_BYTES = 64 * 1024;

export interface PeerCallerOptions {
  readonly address: PeerAddress;
  readonly transport: Transport;
  readonly scheduler: Scheduler;
  readonly timeoutMs: number;
  /** `SERV_CACHE_PEER_TOKEN`; null = none. */
  readonly token: string | null;
}

/** The peer did not execute a call. */
export class PeerCallError extends Error {
  readonly code = "ERR_PEER_CALL";
  constructor(
    message: string,
    /** 0 = no answer. */
    readonly status: number,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }

  /** Whether the peer has no such path: it runs the original ServCache (Go). */
  get isLegacy(): boolean {
    return this.status === 404 || this.status === 405;
  }

  /** Whether the message is too large for the peer, or for a proxy in between. */
  get isTooLarge(): boolean {
    return this.status === 413;
  }

  /** Whether the peer wants a hello first. */
  get isSessionLost(): boolean {
    return this.status === 409;
  }
}

export type Caller = Pick<PeerCaller, "ask" | "encode" | "exchange" | "plain">;

export class PeerCaller {
  constructor(private readonly options: PeerCallerOptions) {}

  encode(kind: MessageKind, head: HeadMembers, mutations: readonly Mutation[]): Buffer {
    return encodeMessage(kind, head, mutations);
  }

  /** Rejects with `PeerCallError` or `WireError`. */
  ask(
    kind: MessageKind,
    head: HeadMembers,
    mutations: readonly Mutation[],
    signal: AbortSignal,
    timeoutMs = this.options.timeoutMs,
  ): Promise<Message> {
    const limitBytes = WITH_ENTRIES.has(kind) ? MAX_MESSAGE_BYTES : ANSWER_BYTES;
    return this.exchange(this.encode(kind, head, mutations), signal, timeoutMs, [], limitBytes);
  }

  /** @param traceparents trace contexts of the mutations in the message */
  async exchange(
    body: Buffer,
    signal: AbortSignal,
    limitMs = this.options.timeoutMs,
    traceparents: readonly (string | undefined)[] = [],
    limitBytes = ANSWER_BYTES,
  ): Promise<Message> {
    const timeoutMs = limitMs + Math.ceil(body.length / SLOWEST_BYTES_PER_MS);
    const headers = { "content-type": MESSAGE_TYPE };
    const { status, body: answer } = await this.#call(
      { method: "POST", path: REPLICATION_PATH, headers, body, traceparents, limitBytes },
      signal,
      timeoutMs,
    );
    if (status !== 200) throw new PeerCallError(`it answered ${status}${reasonIn(answer)}`, status);
    return decodeMessage(answer, limitBytes);
  }

  /** Sends a call of the original's API; statuses from 200 to 299 are success. */
  async plain(request: Omit<PeerRequest, "signal" | "limitBytes">, signal: AbortSignal): Promise<void> {
    const { status, body } = await this.#call(
      { ...request, limitBytes: PLAIN_ANSWER_BYTES },
      signal,
      this.options.timeoutMs,
    );
    if (status < 200 || status > 299) throw new PeerCallError(`it answered ${status}${reasonIn(body)}`, status);
  }

  async #call(request: Omit<PeerRequest, "signal">, signal: AbortSignal, timeoutMs: number): Promise<PeerResponse> {
    const { address, transport, scheduler, token } = this.options;
    const ending = new AbortController();
    const { promise: ended, reject } = Promise.withResolvers<never>();
    ended.catch(() => {});
    const end = (reason: string) => {
      reject(new PeerCallError(reason, 0));
      ending.abort();
    };
    const cancel = scheduler.after(timeoutMs, () => end(`no answer within ${timeoutMs} ms`));
    const stop = () => end("this node stops");
    if (signal.aborted) stop();
    signal.addEventListener("abort", stop);
    const headers = token === null ? request.headers : { ...request.headers, authorization: `Bearer ${token}` };
    try {
      return await Promise.race([transport.call(address, { ...request, headers, signal: ending.signal }), ended]);
    } catch (error) {
      if (error instanceof PeerCallError) throw error;
      throw new PeerCallError(`it can't be reached: ${messageOf(error)}`, 0, { cause: error });
    } finally {
      cancel();
      signal.removeEventListener("abort", stop);
    }
  }
}

/** The peer's own message, if it sends one. */
function reasonIn(body: Buffer): string {
  try {
    const parsed: unknown = JSON.parse(body.toString("utf8", 0, 1024));
    if (typeof parsed === "object" && parsed !== null && "error" in parsed) return `: ${String(parsed.error)}`;
  } catch {
    // Not JSON: an unknown format, which is not shown.
  }
  return "";
}
