/** A message that can't be understood. */
export class WireError extends Error {
  readonly code = "ERR_REPLICATION_MESSAGE";
}
