import { EngineFullError, EngineUnavailableError, InvalidCursorError } from "../engine.ts";

/** `REDIS_URL` or an option beside it can't be used. */
export class RedisConfigError extends Error {
  readonly code = "ERR_CONFIG";
}

/** A command got no reply in time; the server may still execute it. */
export class CommandTimeoutError extends Error {
  readonly code = "ERR_REDIS_TIMEOUT";
  constructor(command: string, timeoutMs: number) {
    super(`Redis did not answer ${command} within ${timeoutMs} ms`);
  }
}

/** There is no connection to send on. */
export class NotConnectedError extends Error {
  readonly code = "ERR_REDIS_NOT_CONNECTED";
}

/** Replies that mean "not now" rather than "wrong": https://redis.io/docs/latest/develop/reference/protocol-spec/ */
const NOT_NOW =
  /^(LOADING|READONLY|MASTERDOWN|CLUSTERDOWN|NOREPLICAS|MISCONF|TRYAGAIN|MOVED|ASK|BUSY|UNKILLABLE|NOAUTH|WRONGPASS|NOPERM)\b/;

export const CONNECTION_LOST = "the connection is lost";
/** What ioredis says of that, in words of its own options. */
const NO_CONNECTION = /^(Stream isn't writeable|Cluster isn't ready)/;

/** Replies after which the same command may succeed a moment later on the same cluster. */
const SOON = /^(TRYAGAIN|CLUSTERDOWN)\b|^Connection is closed/;

export type Failure = "full" | "unavailable" | "other";

/** What an error of a command means for the call that sent it. */
export function classify(error: unknown): Failure {
  if (!(error instanceof Error)) return "other";
  if (error instanceof TypeError || error instanceof RangeError || error instanceof InvalidCursorError) return "other";
  if (error.name === "ReplyError") {
    if (/^OOM\b|-OOM /.test(error.message)) return "full";
    return NOT_NOW.test(error.message) ? "unavailable" : "other";
  }
  return "unavailable";
}

/** Whether a cluster that is changing may answer the same command in a moment. */
export function isSoonOver(error: unknown): boolean {
  return error instanceof Error && SOON.test(error.message);
}

/** The error that the caller of the engine gets for one of a command. */
export function toEngineError(error: unknown, retryAfterMs: number): unknown {
  if (error instanceof EngineUnavailableError || error instanceof EngineFullError) return error;
  switch (classify(error)) {
    case "full":
      return new EngineFullError(
        "Redis has no memory left for this write; raise its maxmemory or set an eviction policy",
        {
          cause: error,
        },
      );
    case "unavailable":
      return new EngineUnavailableError(`Redis is not available: ${messageOf(error)}`, retryAfterMs, { cause: error });
    case "other":
      return error;
  }
}

/** Whether it is certain that the server never saw the command. */
export function isNotSent(error: unknown): boolean {
  if (error instanceof NotConnectedError) return true;
  return error instanceof Error && NO_CONNECTION.test(error.message);
}

export function messageOf(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  return NO_CONNECTION.test(message) ? CONNECTION_LOST : message;
}
