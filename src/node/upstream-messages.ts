/** What HTTP threads ask of the hub in the main thread, and what it answers. All of it is structured-cloneable. */
import type { Loaded } from "../cache/backing-store.ts";
import { UpstreamError, type UpstreamErrorCode } from "../cache/upstream-error.ts";
import type { CallAnswer, CallRequest, Remote } from "../runtime/rpc.ts";
import type { Hub } from "./hub.ts";

/** What gathered in one turn of a thread's event loop. */
export interface UpstreamRequest {
  readonly kind: "upstream";
  /** Mutations to be recorded (`mutation-frames.ts`), with ids from `firstRecord` on; null = none. */
  readonly records: Uint8Array<ArrayBuffer> | null;
  readonly firstRecord: number;
  /** Keys to be loaded, and the ids of those loads. */
  readonly loadIds: readonly number[];
  readonly loadKeys: readonly string[];
  /** Their trace contexts; empty = none. */
  readonly loadTraces: readonly string[];
  readonly refreshKeys: readonly string[];
  readonly calls: readonly CallRequest[];
}

/** What else an HTTP thread may call: methods of the hub. This table is all that such a call needs between the threads. */
export const MAIN_CALLS = [
  "health",
  "stats",
  "metrics",
  "deadLetters",
  "retryDead",
  "dropDead",
  "replicate",
  "keepPending",
  "pendingOf",
  "doubt",
] as const satisfies readonly (keyof Hub)[];

export type MainCalls = Remote<Hub, (typeof MAIN_CALLS)[number]>;

export interface UpstreamAnswer {
  readonly kind: "upstream";
  /** Records `from` to `to` (the last one) are done, or failed. */
  readonly records: readonly { readonly from: number; readonly to: number; readonly failure: Failure | null }[];
  readonly loads: readonly { readonly ids: readonly number[]; readonly result: Loaded | Failure }[];
  readonly calls: readonly CallAnswer<Failure>[];
}

export interface Failure {
  readonly kind: "failure";
  /** Null = a bug. */
  readonly code: UpstreamErrorCode | null;
  readonly message: string;
  readonly retryAfterMs: number;
  readonly isKept: boolean;
}

export function isFailure(result: Loaded | Failure): result is Failure {
  return result.kind === "failure";
}

export function failureOf(error: unknown): Failure {
  if (error instanceof UpstreamError) {
    const { code, message, retryAfterMs, isKept } = error;
    return { kind: "failure", code, message, retryAfterMs, isKept };
  }
  return { kind: "failure", code: null, message: String(error), retryAfterMs: 0, isKept: false };
}

export function errorOf({ code, message, retryAfterMs, isKept }: Failure): Error {
  return code === null ? new Error(message) : new UpstreamError(code, message, retryAfterMs, isKept);
}
