/** The phases of a connection. */
export enum Phase {
  /** Between requests, or within a head. */
  Head,
  /** A body is arriving; `bodyReader` collects it. */
  Body,
  /** The handler answers later. */
  Handling,
  /** The last answer is given: further bytes are dropped until the client closes, or its time is over. */
  Lingering,
  Closed,
}
