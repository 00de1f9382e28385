/** What a request asks for, and what came of it: the two things by which requests are counted. */

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
  /** A read that the cache could answer. */
  Hit,
  /** A read of what there is not. */
  Miss,
  /** A read that the cache could not answer, but the backend could. */
  Loaded,
  /** Anything else that succeeded. */
  Ok,
  ClientError,
  ServerError,
}

/** By `Operation`. */
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

/** By `Result`. */
export const RESULT_NAMES = ["hit", "miss", "loaded", "ok", "client_error", "server_error"] as const;

/** @param wasLoaded the answer to a read came from behind the cache */
export function resultOf(operation: Operation, status: number, wasLoaded: boolean): Result {
  const isRead = operation <= Operation.Head;
  if (status < 400) return isRead ? (wasLoaded ? Result.Loaded : Result.Hit) : Result.Ok;
  if (isRead && status === 404) return Result.Miss;
  return status < 500 ? Result.ClientError : Result.ServerError;
}
