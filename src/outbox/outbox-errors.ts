/** The mutation was not taken, and nothing of it is kept. */
export class OutboxFullError extends Error {
  readonly code = "ERR_OUTBOX_FULL";
  constructor(
    message: string,
    readonly retryAfterMs: number,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/** The outbox can't be used at all; it stops the start. */
export class OutboxOpenError extends Error {
  readonly code = "ERR_OUTBOX_OPEN";
}

/** Another node runs on the same data directory; it stops the start. */
export class DataDirectoryInUseError extends Error {
  readonly code = "ERR_DATA_DIR_IN_USE";
}
