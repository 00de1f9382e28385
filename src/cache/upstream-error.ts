/** Why a commit or a load failed. */

/**
 * - `ERR_OUTBOX_FULL`: there is no room for the write; it is kept nowhere.
 * - `ERR_BACKEND_TIMEOUT`, `ERR_BACKEND_UNAVAILABLE`, `ERR_BACKEND_ANSWER`, `ERR_BACKEND_BUSY`,
 *   `ERR_BACKEND_BREAKER_OPEN`: a load failed, or a write through did; the write is written later then (`isKept`).
 * - `ERR_BACKEND_KEY`: the key can't be one of the backend's; the write is kept nowhere.
 * - `ERR_BACKEND_REFUSED`: the backend refuses this key or value for good; it is kept nowhere.
 */
export type UpstreamErrorCode =
  | "ERR_OUTBOX_FULL"
  | "ERR_BACKEND_TIMEOUT"
  | "ERR_BACKEND_UNAVAILABLE"
  | "ERR_BACKEND_ANSWER"
  | "ERR_BACKEND_BUSY"
  | "ERR_BACKEND_BREAKER_OPEN"
  | "ERR_BACKEND_KEY"
  | "ERR_BACKEND_REFUSED";

/** A write of a key that can't be one of the backend's. */
export function refusedKey(refusal: string): UpstreamError {
  return new UpstreamError("ERR_BACKEND_KEY", refusal, 0, false);
}

export class UpstreamError extends Error {
  constructor(
    readonly code: UpstreamErrorCode,
    message: string,
    readonly retryAfterMs: number,
    /** The write waits in the outbox all the same. */
    readonly isKept: boolean,
  ) {
    super(message);
  }
}
