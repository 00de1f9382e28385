/** What HTTP threads ask of the hub in the main thread, and what it answers. All of it is structured-cloneable. */
import type { Mutation } from "../cache/mutation.ts";
import type {
  DeadWrite,
  Loaded,
  PeerRequest,
  PeerResponse,
  UpstreamErrorCode,
  UpstreamReport,
} from "../cache/upstream.ts";
import type { Stamp } from "../engine/engine.ts";

/** What gathered in one turn of a thread's event loop. */
export interface UpstreamRequest {
  readonly kind: "upstream";
  /** Mutations to be recorded (`mutation-codec.ts`), with ids from `firstRecord` on; null = none. */
  readonly records: Uint8Array<ArrayBuffer> | null;
  readonly firstRecord: number;
  /** Keys to be loaded, and the ids of those loads. */
  readonly loadIds: readonly number[];
  readonly loadKeys: readonly string[];
  /** Their trace contexts; empty = none. */
  readonly loadTraces: readonly string[];
  readonly refreshKeys: readonly string[];
  readonly calls: readonly UpstreamCall[];
}

/** What operators and peers ask for. */
export type UpstreamCall = { readonly id: number } & (
  | { readonly name: "report" }
  | { readonly name: "deadLetters"; readonly afterId: number; readonly limit: number }
  | { readonly name: "retryDead" | "dropDead"; readonly ids: readonly number[] | null }
  | { readonly name: "replicate"; readonly request: PeerRequest }
  | { readonly name: "keepPending"; readonly mutation: Mutation }
  | { readonly name: "pendingOf"; readonly key: string }
  | { readonly name: "doubt"; readonly key: string; readonly stamp: Stamp }
);

export type CallResult =
  | UpstreamReport
  | readonly DeadWrite[]
  | number
  | { readonly kind: "replicated"; readonly response: PeerResponse | null }
  | { readonly kind: "pending"; readonly mutation: Mutation | null };

export interface UpstreamAnswer {
  readonly kind: "upstream";
  /** Records `from` to `to` (the last one) are done, or failed. */
  readonly records: readonly { readonly from: number; readonly to: number; readonly failure: Failure | null }[];
  readonly loads: readonly { readonly ids: readonly number[]; readonly result: Loaded | Failure }[];
  readonly calls: readonly { readonly id: number; readonly result: CallResult | Failure }[];
}

export interface Failure {
  readonly kind: "failure";
  /** Null = a bug. */
  readonly code: UpstreamErrorCode | null;
  readonly message: string;
  readonly retryAfterMs: number;
  readonly isKept: boolean;
}

export function isFailure(result: object | number): result is Failure {
  return typeof result === "object" && "kind" in result && result.kind === "failure";
}
