/** What the main thread and an HTTP thread say to each other. */

import type { Config } from "../config/config.ts";
import type { SharedParts } from "./shared-parts.ts";
import type { UpstreamAnswer, UpstreamRequest } from "./upstream-messages.ts";

/** Handed to a thread when it starts. */
export interface ThreadData {
  readonly config: Config;
  readonly shared: SharedParts;
  /** From 1; the main thread is 0. */
  readonly thread: number;
  readonly hostname: string;
  /** 0 = any free port: for the first thread only. */
  readonly port: number;
}

/** Stop accepting, finish what is under way within `graceMs`. */
export interface DrainMessage {
  readonly kind: "drain";
  readonly graceMs: number;
}

export type MainMessage = DrainMessage | UpstreamAnswer;

export type ThreadMessage =
  | UpstreamRequest
  | { readonly kind: "listening"; readonly port: number }
  | { readonly kind: "drained" }
  | { readonly kind: "request-failed"; readonly traceId: string; readonly reason: string };

export function isThreadMessage(value: unknown): value is ThreadMessage {
  return typeof value === "object" && value !== null && "kind" in value;
}
