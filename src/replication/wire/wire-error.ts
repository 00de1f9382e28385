/** A message is malformed. */
export class WireError extends Error {
  readonly code = "ERR_REPLICATION_MESSAGE";
}
