/** Operations and results, the two labels by which requests are counted. */

export enum Operation {
  Get,
  Head,
  Put,
  Patch,
  Delete,
  Invalidate,
  Batch,
  Keys,
  Other,
}

export enum Result {
  /** A read that the cache answered. */
  Hit,
  /** A read of an absent key. */
  Miss,
  /** A read that missed in the cache and was loaded from the backend. */
  Loaded,
  /** Any other success. */
  Ok,
  ClientError,
  ServerError,
}

/** Indexed by `Operation`. */
export const OPERATION_NAMES = [
  "get",
  "head",
  "put",
  "patch",
  "delete",
  "invalidate",
  "batch",
  "keys",
  "other",
] as const;

/** Indexed by `Result`. */
export const RESULT_NAMES = ["hit", "miss", "loaded", "ok", "client_error", "server_error"] as const;

/** @param wasLoaded whether the answer was loaded from the backend */
export function resultOf(operation: Operation, status: number, wasLoaded: boolean): Result {
  const isRead = operation <= Operation.Head;
  if (status < 400) return isRead ? (wasLoaded ? Result.Loaded : Result.Hit) : Result.Ok;
  if (isRead && status === 404) return Result.Miss;
  return status < 500 ? Result.ClientError : Result.ServerError;
}
