/** What a connection is at. */
export enum Phase {
  /** Between requests, or within a head. */
  Head,
  /** A body is arriving: `bodyReader` takes it. */
  Body,
  /** The handler answers later. */
  Handling,
  /** The last answer is given: what else arrives is dropped until the client closes, or its time is up. */
  Lingering,
  Closed,
}
