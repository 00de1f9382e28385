/** The queues of the outbox that are for peers. */
const DESTINATION_MARK = "peer:";
const UNPLACED_MARK = "unplaced:";
/** The destination of invalidations that queued puts may be older than: see `OwnRows`. */
export const KNOWN_INVALIDATIONS = "invalidations";

export function destinationOf(peerName: string): string {
  return DESTINATION_MARK + peerName;
}

/** The destination of puts that a peer knows of and could not place: see `OwnRows`. */
export function unplacedOf(destination: string): string {
  return UNPLACED_MARK + destination.slice(DESTINATION_MARK.length);
}

/** The peer's queue that a destination belongs to; null = not a peer's. */
export function peerDestinationOf(destination: string): string | null {
  if (destination.startsWith(DESTINATION_MARK)) return destination;
  return destination.startsWith(UNPLACED_MARK) ? destinationOf(destination.slice(UNPLACED_MARK.length)) : null;
}
