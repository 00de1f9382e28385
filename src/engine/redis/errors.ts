import { messageOf } from "../../runtime/error-message.ts";
import { EngineFullError, EngineRefusedError, EngineUnavailableError, InvalidCursorError } from "../engine.ts";

/** `REDIS_URL` or a related option is invalid. */
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

/** The command was never sent: there was no connection. */
export class NotConnectedError extends Error {
  readonly code = "ERR_REDIS_NOT_CONNECTED";
}

export const CONNECTION_LOST = "the connection is lost";
/** The message of ioredis for that case, in terms of its own options. */
const NO_CONNECTION =
  /^(Stream isn't writeable|Cluster isn't ready|Connection is closed|Command aborted due to connection close|Reached the max retries)/;

/**
 * Error replies of a server that answers nothing else now:
 * https://redis.io/docs/latest/develop/reference/protocol-spec/
 */
const AWAY = /^(LOADING|MASTERDOWN|CLUSTERDOWN|NOAUTH|WRONGPASS)\b/;
/** Error replies to a command that was not executed, and will soon be executable, here or on another server. */
const NOT_YET = /^(MOVED|ASK|TRYAGAIN|CLUSTERDOWN|MASTERDOWN|LOADING|READONLY|Too many Cluster redirections)\b/;
/** Error replies to a command that was not executed, and may be executable later. */
const NOT_NOW = /^(READONLY|MISCONF|NOREPLICAS|TRYAGAIN|MOVED|ASK|BUSY|UNKILLABLE)\b/;
const FORBIDDEN = /^NOPERM\b|ACL failure in script|-NOPERM /;
const FULL = /^OOM\b|-OOM /;

/**
 * The meaning of a command's error for the call that sent it: the server is away; it did not execute this command, but
 * may later; it refuses this command; or the error is a bug.
 */
export type Failure = "away" | "not-now" | "full" | "forbidden" | "wrong-type" | "other";

export function classify(error: unknown): Failure {
  if (!(error instanceof Error) || error instanceof TypeError || error instanceof RangeError) return "other";
  if (error instanceof EngineUnavailableError) return "not-now";
  if (error instanceof InvalidCursorError || error instanceof EngineRefusedError) return "other";
  if (error.name !== "ReplyError") return "away";
  const { message } = error;
  if (FULL.test(message)) return "full";
  if (FORBIDDEN.test(message)) return "forbidden";
  if (message.startsWith("WRONGTYPE")) return "wrong-type";
  if (AWAY.test(message)) return "away";
  return NOT_NOW.test(message) ? "not-now" : "other";
}

export const NO_STRING_MESSAGE =
  "another program stores a value that is not a string under this key; delete it or use another key";

/**
 * Whether the same command may be sent again: it was not executed; or its connection was lost, and executing it twice
 * is harmless.
 */
export function mayRetry(error: unknown, isRepeatable: boolean): boolean {
  if (!(error instanceof Error)) return false;
  if (error instanceof NotConnectedError || NOT_YET.test(error.message)) return true;
  return isRepeatable && error.name !== "ReplyError" && NO_CONNECTION.test(error.message);
}

/** Whether the server may have executed the command, or may do so later. */
function isInDoubt(error: unknown): boolean {
  return error instanceof Error && error.name !== "ReplyError" && !(error instanceof NotConnectedError);
}

/** The error that a read throws to the caller of the engine. */
export function toReadError(error: unknown, retryAfterMs: number): unknown {
  if (error instanceof EngineUnavailableError || error instanceof EngineFullError) return error;
  switch (classify(error)) {
    case "full":
      return new EngineFullError(
        "Redis has no memory left for this write; raise its maxmemory or set an eviction policy",
        { cause: error },
      );
    case "forbidden":
      return new EngineRefusedError(
        "ERR_ENGINE_FORBIDDEN",
        `the user of REDIS_URL may not do this: ${problemOf(error)}; grant it in the ACL of Redis`,
        { cause: error },
      );
    case "wrong-type":
      return new EngineRefusedError("ERR_WRONG_TYPE", NO_STRING_MESSAGE, { cause: error });
    case "away":
    case "not-now":
      return new EngineUnavailableError(`Redis is not available: ${problemOf(error)}`, retryAfterMs, { cause: error });
    case "other":
      return error;
  }
}

/** The same for a write, which may have been executed nevertheless. */
export function toWriteError(error: unknown, retryAfterMs: number): unknown {
  if (classify(error) !== "away" || !isInDoubt(error) || error instanceof EngineUnavailableError) {
    return toReadError(error, retryAfterMs);
  }
  return new EngineUnavailableError(
    `Redis is not available: ${problemOf(error)}. Whether this write was done is not known: read the entry before you ` +
      "repeat it, or repeat it under If-Match or If-None-Match",
    retryAfterMs,
    { cause: error },
  );
}

/** What an error of the connection says, in our words where it is about no connection. */
export function problemOf(error: unknown): string {
  const message = messageOf(error);
  return NO_CONNECTION.test(message) ? CONNECTION_LOST : message;
}
