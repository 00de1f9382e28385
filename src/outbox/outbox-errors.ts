import { messageOf } from "../runtime/error-message.ts";

const RETRY_AFTER_MS = 1000;

/** The mutation was not taken, and nothing of it is kept. */
export class OutboxFullError extends Error {
  readonly code = "ERR_OUTBOX_FULL";
  readonly retryAfterMs = RETRY_AFTER_MS;
}

/** The outbox can't be used at all; it stops the start. */
export class OutboxOpenError extends Error {
  readonly code = "ERR_OUTBOX_OPEN";
}

/** Another node runs on the same data directory; it stops the start. */
export class DataDirectoryInUseError extends Error {
  readonly code = "ERR_DATA_DIR_IN_USE";
}

export function diskFull(cause: unknown): OutboxFullError {
  const reason = messageOf(cause);
  return new OutboxFullError(`the outbox can't be written (${reason}): make room on the disk of SERV_CACHE_DATA_DIR`, {
    cause,
  });
}
