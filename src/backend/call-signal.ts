import { BackendError, type CallOptions } from "./backend.ts";

/** One signal for a call's time and its caller's wish to end it. */
export function callSignal(options: CallOptions): AbortSignal {
  const timeout = AbortSignal.timeout(options.timeoutMs);
  return options.signal === undefined ? timeout : AbortSignal.any([timeout, options.signal]);
}

/** What an aborted call failed with: a timeout, or the caller's own end. */
export function abortError(signal: AbortSignal, what: string): BackendError {
  const reason: unknown = signal.reason;
  const isTimeout = reason instanceof DOMException && reason.name === "TimeoutError";
  return isTimeout
    ? new BackendError("ERR_BACKEND_TIMEOUT", `${what} gave no answer in time`, { cause: reason })
    : new BackendError("ERR_BACKEND_UNAVAILABLE", `the call to ${what} was ended`, { cause: reason });
}
