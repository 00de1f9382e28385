/** Bytes that one connection, or all waiting ones together, read or send before others have their turn. */
export const TURN_BYTES = 512 * 1024;
/** A packet of this size or more probably has more data behind it. */
export const LARGE_CHUNK_BYTES = 64 * 1024;

/** A connection with more work than fits into one turn. */
export interface TurnTaker {
  takeTurn(): void;
}

/**
 * Processes the large bodies and answers of one thread one after the other, one piece per turn of the event loop, with
 * small requests in between. Without this, the socket layer reads up to 5 MiB from each socket, and writes as much as
 * the kernel accepts, before it goes on to the next.
 */
export class Turns {
  private readonly waiting: TurnTaker[] = [];
  private isScheduled = false;
  private readonly run = (): void => {
    this.isScheduled = false;
    const next = this.waiting.shift();
    if (this.waiting.length > 0) this.schedule();
    next?.takeTurn();
  };

  /** @param defer calls its argument in the next turn of the event loop, after the events that arrived meanwhile */
  constructor(private readonly defer: (run: () => void) => void) {}

  /** To be called once for each turn: a taker that needs another turn waits again, behind the others. */
  wait(taker: TurnTaker): void {
    this.waiting.push(taker);
    this.schedule();
  }

  private schedule(): void {
    if (this.isScheduled) return;
    this.isScheduled = true;
    this.defer(this.run);
  }
}
