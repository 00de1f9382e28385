/** Of one connection, and of all of them where several wait: what is read or sent before the others have their turn. */
export const TURN_BYTES = 512 * 1024;
/** From here on, a packet has most likely more behind it. */
export const LARGE_CHUNK_BYTES = 64 * 1024;

/** Whoever has more to do than is done in one turn. */
export interface TurnTaker {
  takeTurn(): void;
}

/**
 * Large bodies and answers of one thread go on one after the other, one piece in each turn of the event loop, so that
 * small requests get in between. Left to itself, the socket layer reads up to 5 MiB from each socket, and writes as much as
 * the kernel takes, before it looks at the next.
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

  /** @param defer calls in the next turn of the event loop, after what has come in the meantime */
  constructor(private readonly defer: (run: () => void) => void) {}

  /** To be called once for each turn: whoever wants another waits anew, behind the others. */
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
